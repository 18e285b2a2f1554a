"""What a run, a study, a download survive: kills, full disks, two at once, networks, clocks.

A few run in "make test", those marked slow; all of them in "make survival", and once a week.
"""
# One after the other
# signals
#   test_a_run_that_a_signal_ends_goes_on_bit_for_bit[SIGKILL slow, SIGINT slow, SIGTERM]
#   test_a_run_that_was_stopped_for_a_while_goes_on (SIGSTOP, SIGCONT)
#   test_a_run_killed_in_the_middle_of_a_save_goes_on[checkpoint, model.pt, misclassified slow, record]
#   test_a_notebook_that_is_killed_goes_on (papermill and its kernel)
#   test_a_study_of_notebooks_that_is_killed_goes_on (everything at once, as by a power cut)
#   test_a_study_of_rows_that_is_killed_goes_on (no row lost, none twice)
#   test_a_summary_that_is_killed_leaves_no_half_figure
# disks
#   test_a_full_disk_at_a_save_is_refused_and_the_run_goes_on[checkpoint slow, model.pt, misclassified, record]
#   test_a_folder_that_is_removed_during_training_is_named
#   test_a_folder_that_is_read_only_is_named_before_training[runs, figures]
#   test_every_file_is_on_the_disk_before_it_has_its_name
# two at once
#   test_two_runs_of_one_name[alike slow, unlike]
#   test_twelve_runs_at_once_are_as_if_alone
#   test_eight_that_try_one_folder_do_not_disturb_each_other
# networks
#   test_a_network_that_swallows_packets_leads_to_the_sample (slow)
#   test_a_server_that_stops_in_the_middle_of_a_file_is_given_up
#   test_of_three_at_once_one_downloads
# machines
#   test_a_clock_that_is_set_back_makes_no_negative_duration (in process)
#   test_a_run_goes_on_with_the_threads_that_it_began_with
#   test_a_run_needs_nothing_that_unix_alone_has
