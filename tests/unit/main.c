/* Runs every suite, each test in a process of its own. CK_RUN_SUITE=name runs one, CK_FORK=no helps
 * a debugger. A new suite is one line below. */
#include <check.h>
#include <stdlib.h>

#define SUITES(X)                                                                                  \
    X(ack_body)                                                                                    \
    X(assign)                                                                                      \
    X(bench_http)                                                                                  \
    X(codec)                                                                                       \
    X(codec_delivery)                                                                              \
    X(codec_group)                                                                                 \
    X(codec_transaction)                                                                           \
    X(config)                                                                                      \
    X(crc32c)                                                                                      \
    X(dead_letter_headers)                                                                         \
    X(dead_letters)                                                                                \
    X(delivery)                                                                                    \
    X(delivery_end)                                                                                \
    X(delivery_restart)                                                                            \
    X(delivery_transaction)                                                                        \
    X(due_index)                                                                                   \
    X(due_rank)                                                                                    \
    X(duration)                                                                                    \
    X(fetch)                                                                                       \
    X(histogram)                                                                                   \
    X(journal)                                                                                     \
    X(json_scan)                                                                                   \
    X(json_write)                                                                                  \
    X(key_handover)                                                                                \
    X(key_order)                                                                                   \
    X(key_random)                                                                                  \
    X(key_reader)                                                                                  \
    X(lane_weights)                                                                                \
    X(lanes)                                                                                       \
    X(lease)                                                                                       \
    X(lease_table)                                                                                 \
    X(machine)                                                                                     \
    X(machine_dead_letter)                                                                         \
    X(machine_delay)                                                                               \
    X(machine_delivery)                                                                            \
    X(machine_handover)                                                                            \
    X(machine_transaction)                                                                         \
    X(machine_save)                                                                                \
    X(map)                                                                                         \
    X(message_write)                                                                               \
    X(metrics)                                                                                     \
    X(murmur3)                                                                                     \
    X(offset_set)                                                                                  \
    X(partition_log)                                                                               \
    X(producer)                                                                                    \
    X(publish_builder)                                                                             \
    X(publish_memo)                                                                                \
    X(readout)                                                                                     \
    X(receipt)                                                                                     \
    X(record_batch)                                                                                \
    X(replay_page)                                                                                 \
    X(resolve)                                                                                     \
    X(resolve_race)                                                                                \
    X(resolved)                                                                                    \
    X(revocation)                                                                                  \
    X(snapshot)                                                                                    \
    X(target)                                                                                      \
    X(timestamp)                                                                                   \
    X(utf8)                                                                                        \
    X(varint)                                                                                      \
    X(wheel)

#define DECLARE(name) Suite *suite_##name(void);
SUITES(DECLARE)
#undef DECLARE

int main(void)
{
    SRunner *runner = srunner_create(NULL);
#define ADD(name) srunner_add_suite(runner, suite_##name());
    SUITES(ADD)
#undef ADD
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
