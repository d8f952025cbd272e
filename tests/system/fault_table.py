"""Which test injects which fault, by the numbers of the fault table that we work from, or why none does.

A test is (file, function). Several of a row each inject a part of it; the soak injects many at once.
"""

from __future__ import annotations

TESTS: dict[int, list[tuple[str, str]]] = {
    1: [
        ("system/test_crash_points.py", "test_fault_01_02_08_15_49_a_crash_loses_and_doubles_nothing"),
    ],
    2: [
        ("system/test_crash_points.py", "test_fault_01_02_08_15_49_a_crash_loses_and_doubles_nothing"),
        ("system/test_faults.py", "test_fault_02_26_every_message_three_times_in_any_order"),
    ],
    4: [
        ("system/test_burst.py", "test_fault_04_each_of_2000_jobs_due_in_one_second_is_executed_once"),
        (
            "integration/test_store_locks.py",
            "test_fault_04_five_thousand_due_jobs_get_one_run_each_and_every_injector_works",
        ),
    ],
    5: [
        ("integration/test_store_locks.py", "test_fault_05_fifty_requests_with_one_key_are_one_run"),
    ],
    6: [
        ("system/test_soak.py", "test_fault_06_34_35_a_minute_of_faults_loses_and_doubles_nothing"),
        (
            "integration/test_store_locks.py",
            "test_fault_06_an_edit_of_a_category_waits_for_its_jobs_expansion_and_loses_nothing",
        ),
    ],
    7: [
        (
            "system/test_faults.py",
            "test_fault_07_an_edit_of_a_job_that_is_locked_waits_or_is_told_when_to_come_again",
        ),
    ],
    8: [
        ("system/test_crash_points.py", "test_fault_01_02_08_15_49_a_crash_loses_and_doubles_nothing"),
        (
            "system/test_kill_services.py",
            "test_fault_08_a_service_killed_in_the_middle_loses_and_doubles_nothing",
        ),
    ],
    9: [
        (
            "system/test_kill_keeper.py",
            "test_fault_09_jobs_of_a_killed_keeper_are_interrupted_and_new_ones_run",
        ),
        (
            "integration/test_keeper_restarts.py",
            "test_fault_09_a_reboot_interrupts_what_was_open_and_kills_nobody",
        ),
        ("integration/test_keeper_runs.py", "test_fault_09_exit_codes_and_signals_are_told_as_they_are"),
    ],
    10: [
        ("system/test_guarantees.py", "test_fault_10_a_host_that_never_returns"),
    ],
    11: [
        (
            "system/test_freeze.py",
            "test_fault_11_runs_of_a_runner_that_is_silent_for_long_are_lost_and_found_again",
        ),
    ],
    13: [
        ("system/test_sigterm.py", "test_fault_13_a_running_job_survives_its_runner_and_is_adopted"),
    ],
    14: [
        ("unit/runner/test_folder.py", "test_fault_14_an_explicit_name_in_use_is_refused_by_name_and_holder"),
        (
            "unit/runner/test_folder.py",
            "test_fault_14_a_copied_folder_gets_a_lineage_of_its_own_and_its_journal_is_set_aside",
        ),
    ],
    15: [
        ("system/test_crash_points.py", "test_fault_01_02_08_15_49_a_crash_loses_and_doubles_nothing"),
    ],
    16: [
        ("system/test_faults.py", "test_fault_16_without_results_nothing_starts_and_nothing_is_lost"),
    ],
    17: [
        (
            "contract/test_injector_watch.py",
            "test_fault_17_nobody_is_asked_or_lost_while_the_pipeline_is_silent",
        ),
    ],
    18: [
        (
            "system/test_servers_away.py",
            "test_fault_18_28_servers_that_fail_in_the_middle_lose_and_double_nothing",
        ),
    ],
    20: [
        (
            "integration/test_amqp_topology.py",
            "test_fault_20_a_queue_deleted_under_its_consumer_is_there_again_within_a_second",
        ),
    ],
    22: [
        ("system/test_faults.py", "test_fault_22_a_broker_that_blocks_publishers_costs_only_time"),
    ],
    23: [
        ("system/test_routing.py", "test_fault_23_a_run_needs_no_message_on_the_broker_while_it_lasts"),
    ],
    24: [
        ("system/test_routing.py", "test_fault_24_a_run_waits_for_the_first_runner_of_its_key_and_says_so"),
    ],
    25: [
        ("system/test_faults.py", "test_fault_25_a_queue_with_little_room_that_rejects_publishes"),
    ],
    26: [
        ("system/test_faults.py", "test_fault_02_26_every_message_three_times_in_any_order"),
    ],
    28: [
        (
            "system/test_servers_away.py",
            "test_fault_18_28_servers_that_fail_in_the_middle_lose_and_double_nothing",
        ),
    ],
    29: [
        ("system/test_faults.py", "test_fault_29_a_database_that_is_away_for_long"),
    ],
    31: [
        (
            "contract/test_store_engine.py",
            "test_fault_31_work_that_met_another_in_its_way_starts_again_from_nothing",
        ),
    ],
    33: [
        ("system/test_restore.py", "test_fault_33_after_a_restore_nothing_of_the_gap_runs_twice"),
    ],
    34: [
        (
            "system/test_faults.py",
            "test_fault_34_a_runner_cut_off_from_the_broker_finishes_its_job_and_tells_later",
        ),
        ("system/test_soak.py", "test_fault_06_34_35_a_minute_of_faults_loses_and_doubles_nothing"),
    ],
    35: [
        ("system/test_faults.py", "test_fault_35_an_injector_that_the_database_does_not_answer_is_replaced"),
        ("system/test_soak.py", "test_fault_06_34_35_a_minute_of_faults_loses_and_doubles_nothing"),
    ],
    37: [
        (
            "integration/test_keeper_limits.py",
            "test_fault_37_a_full_disk_refuses_new_starts_and_still_tells_the_end_of_old_ones",
        ),
    ],
    38: [
        (
            "integration/test_keeper_output.py",
            "test_fault_38_a_flood_neither_stalls_the_job_nor_fills_the_memory",
        ),
        ("contract/test_pages_hostile.py", "test_fault_38_growing_output_full_of_it_is_harmless"),
    ],
    39: [
        (
            "integration/test_keeper_kill.py",
            "test_fault_39_processes_that_left_the_session_are_killed_with_the_run",
        ),
    ],
    40: [
        ("system/test_cancel.py", "test_fault_40_a_job_that_ignores_the_request_is_killed_after_its_grace"),
        ("integration/test_keeper_kill.py", "test_fault_40_a_stopped_job_is_woken_to_hear_term"),
    ],
    43: [
        ("unit/domain/test_cron_zones.py", "test_fault_43_a_day_of_change_fires_as_the_table_says"),
    ],
    44: [
        (
            "contract/test_injector_catch_up.py",
            "test_fault_44_three_days_of_outage_of_a_job_of_each_minute",
        ),
    ],
    45: [
        ("system/test_gates.py", "test_fault_45_skip_leaves_the_one_that_runs_alone"),
        ("system/test_gates.py", "test_fault_45_replace_kills_the_one_that_runs_and_starts_after_it"),
        ("contract/test_store_line.py", "test_fault_45_queue_runs_one_after_the_other"),
    ],
    48: [
        ("contract/test_results.py", "test_fault_48_a_thousand_garbage_messages_do_not_stop_the_others"),
    ],
    49: [
        ("system/test_crash_points.py", "test_fault_01_02_08_15_49_a_crash_loses_and_doubles_nothing"),
        ("integration/test_store_locks.py", "test_fault_49_puts_of_one_category_take_turns"),
    ],
}

NOT_INJECTED: dict[int, str] = {
    27: "later: grants are not signed yet; a replayed claim, grant or event meets its attempt's state",
    32: "in parts: the database's errors 1040, 1290 and 1836 are read as away; its full disk is not set up",
    41: "later: limits of a job are not there yet",
    46: "in parts: an unknown version is a dead letter (test_another_version_is_refused_by_name); there is no"
    " earlier release to upgrade from",
    47: "later: there are no keys of runners yet",
    50: "in parts: not every except branch has a test of its own; the soak and the contract tests reach most",
}
