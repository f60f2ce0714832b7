/* DEAD_LETTER and REPLAY: messages that move between a topic and its dead-letter topic. */
#include "machine/state.h"
#include "tests/unit/machine_fixture.h"

Suite *suite_machine_dead_letter(void);

/* Ten messages in each of the two partitions of "a", read by the member "one". */
static void setup(void)
{
    fixture_setup();
    (void)create("a", 2, false);
    (void)join_one("one", "a");
    struct record records[10];
    for (int i = 0; i < 10; i++)
        records[i] = record_of(PRIORITY_NORMAL, 0);
    ck_assert_int_eq(publish("a", 0, records, 10), ST_OK);
    ck_assert_int_eq(publish("a", 1, records, 10), ST_OK);
}

static struct dead_letter_entry entry_of(uint64_t offset, uint64_t lease_id,
                                         enum dead_letter_reason reason)
{
    return (struct dead_letter_entry){
        .place = {.group_id = 1, .topic_id = 1, .offset = offset},
        .lease_id = lease_id,
        .delivery_count = 3,
        .reason = reason,
        .hash = 1,
        .batch = batch_of_one("dead"),
    };
}

static void dead_letter_all(struct dead_letter_entry *entries, uint32_t count)
{
    cmd = (struct command){.type = COMMAND_DEAD_LETTER};
    cmd.dead_letter.settings = fixture_settings();
    cmd.dead_letter.settings.retention_us = 42;
    cmd.dead_letter.entry_count = count;
    cmd.dead_letter.entries = entries;
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_uint_eq(result.dead_letter.count, count);
}

static struct dead_lettered dead_letter(const struct dead_letter_entry *entry)
{
    struct dead_letter_entry copy = *entry;
    dead_letter_all(&copy, 1);
    return result.dead_letter.entries[0];
}

static struct dead_lettered reject(uint64_t offset, uint64_t lease_id)
{
    struct dead_letter_entry entry = entry_of(offset, lease_id, DEAD_LETTER_REJECTED);
    entry.asked = true;
    return dead_letter(&entry);
}

static struct released nack(uint64_t offset, uint64_t lease_id)
{
    struct release_entry entry = {.place = {.group_id = 1, .topic_id = 1, .offset = offset},
                                  .lease_id = lease_id,
                                  .delivery_count = 1,
                                  .kind = RELEASE_NACK};
    cmd = (struct command){.type = COMMAND_RELEASE};
    cmd.release = (struct command_release){UINT64_MAX, 1, &entry};
    ck_assert_int_eq(apply(), ST_OK);
    return result.release.released[0];
}

START_TEST(reject_makes_the_topic_and_the_letter)
{
    struct dead_lettered dead = reject(0, 1000);
    ck_assert(dead.status == ST_OK && !dead.already);
    ck_assert(span_equal(dead.topic, span_text("a.dlq")));
    ck_assert(dead.partition == 1 && dead.offset == 0);
    ck_assert_str_eq(events, "created append:a.dlq/1@0 ");
    const struct topic *t = topic("a.dlq");
    ck_assert_uint_eq(t->partition_count, 2);
    ck_assert_int_eq(t->settings.retention_us, 42);
    ck_assert_int_eq(t->created_us, now_us);
    ck_assert(topic_is_dead_letter(t) && !topic_is_dead_letter(topic("a")));
    ck_assert_uint_eq(t->partitions[1]->message_count, 1);
    ck_assert_uint_eq(known("a", 0)->position, 1);
    const struct topic_totals *totals = &topic("a")->totals;
    ck_assert(totals->rejected == 1 && totals->dead_rejected == 1);
    ck_assert(totals->nacked == 0 && totals->dead_max_retries == 0 && totals->dropped == 0);
    const struct resolved *resolved = machine_find_resolved(machine, 1000);
    ck_assert_ptr_nonnull(resolved);
    ck_assert(resolved->how == RESOLVED_REJECTED && resolved->delivery_count == 3);

    dead = reject(5, 1001); /* into the topic that is there */
    ck_assert(dead.status == ST_OK && dead.offset == 1);
    ck_assert_str_eq(events, "append:a.dlq/1@1 ");
    ck_assert_uint_eq(known("a", 0)->position, 1);
    ck_assert(group_partition_is_done(known("a", 0), 5));
}
END_TEST

START_TEST(last_nack_is_counted_and_remembered)
{
    struct dead_letter_entry entry = entry_of(2, 1000, DEAD_LETTER_MAX_RETRIES);
    entry.nacked = true;
    ck_assert_int_eq(dead_letter(&entry).status, ST_OK);
    const struct topic_totals *totals = &topic("a")->totals;
    ck_assert(totals->nacked == 1 && totals->dead_max_retries == 1);
    ck_assert(totals->rejected == 0 && totals->dead_rejected == 0);
    ck_assert_int_eq(machine_find_resolved(machine, 1000)->how, RESOLVED_NACKED_DEAD);
    struct released released = nack(2, 1000);
    ck_assert(released.status == ST_OK && released.already && released.dead);
    ck_assert_uint_eq(released.delivery_count, 3);
    ck_assert_int_eq(nack(2, 1001).status, ST_MESSAGE_NOT_FOUND); /* another delivery's */
    ck_assert_uint_eq(totals->nacked, 1);
}
END_TEST

START_TEST(passed_deadline_is_nobodys)
{
    struct dead_letter_entry entry = entry_of(2, 1000, DEAD_LETTER_MAX_RETRIES);
    ck_assert_int_eq(dead_letter(&entry).status, ST_OK);
    ck_assert_ptr_null(machine_find_resolved(machine, 1000));
    ck_assert_uint_eq(topic("a")->totals.dead_max_retries, 1);
    ck_assert_uint_eq(topic("a")->totals.nacked, 0);
    ck_assert_int_eq(nack(2, 1000).status, ST_MESSAGE_NOT_FOUND);
}
END_TEST

START_TEST(rejected_delivery_cannot_be_nacked)
{
    (void)reject(2, 1000);
    struct released released = nack(2, 1000);
    ck_assert(released.status == ST_MESSAGE_NOT_FOUND && !released.already);
}
END_TEST

START_TEST(dead_letter_of_a_retry_forgets_it)
{
    ck_assert_int_eq(nack(3, 1000).status, ST_OK);
    ck_assert_uint_eq(known("a", 0)->retry_count, 1);
    (void)reject(3, 1001);
    ck_assert_uint_eq(known("a", 0)->retry_count, 0);
}
END_TEST

START_TEST(message_that_is_done_makes_no_letter)
{
    (void)ack(4);
    uint64_t before = state_digest();
    struct dead_lettered dead = reject(4, 1000);
    ck_assert(dead.status == ST_OK && dead.already && dead.topic.size == 0);
    ck_assert_str_eq(events, "");
    ck_assert_uint_eq(state_digest(), before);
    ck_assert_ptr_null(machine_find_resolved(machine, 1000));
    ck_assert_ptr_null(machine_find_topic(machine, span_text("a.dlq")));

    ck_assert(!reject(5, 1001).already);
    before = state_digest();
    ck_assert(reject(5, 1001).already); /* the same once more */
    ck_assert_uint_eq(state_digest(), before);
}
END_TEST

START_TEST(dead_letter_of_a_gone_place)
{
    uint64_t before = state_digest();
    struct dead_letter_entry entries[4];
    for (int i = 0; i < 4; i++)
        entries[i] = entry_of(1, 1000, DEAD_LETTER_REJECTED);
    entries[0].place.group_id = 2;
    entries[1].place.topic_id = 2;
    entries[2].place.partition = 2;
    entries[3].place.offset = 10;
    dead_letter_all(entries, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(result.dead_letter.entries[i].status, ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(state_digest(), before);
}
END_TEST

START_TEST(message_without_a_batch_is_dropped)
{
    struct dead_letter_entry entries[2] = {entry_of(0, 1000, DEAD_LETTER_MAX_RETRIES),
                                           entry_of(1, 1001, DEAD_LETTER_REJECTED)};
    entries[0].batch = entries[1].batch = (struct span){0};
    entries[1].asked = true;
    dead_letter_all(entries, 2);
    ck_assert_str_eq(events, "");
    for (int i = 0; i < 2; i++) {
        const struct dead_lettered *dead = &result.dead_letter.entries[i];
        ck_assert(dead->status == ST_OK && !dead->already && dead->topic.size == 0);
    }
    const struct topic_totals *totals = &topic("a")->totals;
    ck_assert(totals->dropped == 2 && totals->rejected == 1);
    ck_assert(totals->dead_rejected == 0 && totals->dead_max_retries == 0);
    ck_assert_uint_eq(known("a", 0)->position, 2);
    ck_assert_ptr_null(machine_find_topic(machine, span_text("a.dlq")));
    ck_assert_ptr_nonnull(machine_find_resolved(machine, 1001));
}
END_TEST

START_TEST(hash_says_which_partition)
{
    (void)create("a.dlq", 5, false); /* of its owner's making */
    for (uint32_t hash = 0; hash < 10; hash++) {
        struct dead_letter_entry entry = entry_of(hash, 1000 + hash, DEAD_LETTER_REJECTED);
        entry.hash = 0xFFFFFFF0 + hash;
        struct dead_lettered dead = dead_letter(&entry);
        ck_assert_uint_eq(dead.partition, (0xFFFFFFF0 + hash) % 5);
        ck_assert_uint_eq(dead.offset, hash / 5);
    }
    ck_assert_uint_eq(known("a", 0)->position, 10);
}
END_TEST

START_TEST(no_room_for_the_topic)
{
    struct dead_letter_entry entries[2] = {entry_of(0, 1000, DEAD_LETTER_REJECTED),
                                           entry_of(0, 1001, DEAD_LETTER_REJECTED)};
    entries[0].asked = true;
    entries[1].batch = (struct span){0}; /* needs no topic */
    entries[1].place.partition = 1;
    uint64_t before = state_digest();
    cmd = (struct command){.type = COMMAND_DEAD_LETTER, .time_us = now_us};
    cmd.dead_letter = (struct command_dead_letter){fixture_settings(), 1, entries};
    machine->partition_total += PARTITIONS_TOTAL_MAX - 3; /* one is left */
    machine_apply(machine, &cmd, machine_applied_index(machine) + 1, &arena, &result);
    ck_assert_int_eq(result.dead_letter.entries[0].status, ST_QUOTA_EXCEEDED);
    ck_assert_uint_eq(result.dead_letter.entries[0].topic.size, 0);
    ck_assert_str_eq(events, "append:a/1@0 "); /* from the set-up */
    ck_assert_ptr_null(machine_find_resolved(machine, 1000));
    cmd.dead_letter.entry_count = 2;
    machine_apply(machine, &cmd, machine_applied_index(machine) + 1, &arena, &result);
    machine->partition_total -= PARTITIONS_TOTAL_MAX - 3;
    machine_check(machine);
    ck_assert_int_eq(result.dead_letter.entries[0].status, ST_QUOTA_EXCEEDED);
    ck_assert_int_eq(result.dead_letter.entries[1].status, ST_OK);
    ck_assert_uint_eq(known("a", 0)->position, 0);
    ck_assert_uint_eq(known("a", 1)->position, 1);
    ck_assert_uint_eq(topic("a")->totals.rejected, 0);
    ck_assert_uint_ne(state_digest(), before);
    ck_assert_int_eq(reject(0, 1000).status, ST_OK); /* with room it can be made after all */
    ck_assert_int_eq(reject(0, 1000).already, true);
}
END_TEST

START_TEST(quota_refusal_changes_nothing)
{
    struct dead_letter_entry entry = entry_of(0, 1000, DEAD_LETTER_REJECTED);
    entry.asked = true;
    uint64_t before = state_digest();
    cmd = (struct command){.type = COMMAND_DEAD_LETTER, .time_us = now_us};
    cmd.dead_letter = (struct command_dead_letter){fixture_settings(), 1, &entry};
    machine->partition_total += PARTITIONS_TOTAL_MAX;
    machine_apply(machine, &cmd, machine_applied_index(machine) + 1, &arena, &result);
    machine->partition_total -= PARTITIONS_TOTAL_MAX;
    ck_assert_int_eq(result.dead_letter.entries[0].status, ST_QUOTA_EXCEEDED);
    ck_assert_uint_eq(state_digest(), before);
}
END_TEST

/* Two rejects with one handle were under way when a commit went back between them. */
START_TEST(repeated_reject_after_a_rewind)
{
    ck_assert(!reject(0, 1000).already);
    ck_assert_int_eq(commit("one", "a", 0, 5, -1), ST_OK);
    ck_assert_int_eq(commit("one", "a", 0, 0, -1), ST_OK);
    struct dead_lettered dead = reject(0, 1000);
    ck_assert(dead.status == ST_OK && dead.already);
    ck_assert_str_eq(events, "");
    ck_assert_uint_eq(topic("a.dlq")->partitions[1]->message_count, 1);
    ck_assert_uint_eq(known("a", 0)->position, 0);
}
END_TEST

START_TEST(repeated_last_nack_after_a_rewind)
{
    struct dead_letter_entry entry = entry_of(0, 1000, DEAD_LETTER_MAX_RETRIES);
    entry.nacked = true;
    ck_assert(!dead_letter(&entry).already);
    ck_assert_int_eq(commit("one", "a", 0, 5, -1), ST_OK);
    ck_assert_int_eq(commit("one", "a", 0, 0, -1), ST_OK);
    ck_assert(dead_letter(&entry).already);
    ck_assert_uint_eq(topic("a.dlq")->partitions[1]->message_count, 1);
}
END_TEST

/* A delivery was nacked, and a reject of the same one comes to the machine all the same. */
START_TEST(reject_of_a_nacked_delivery)
{
    ck_assert_int_eq(nack(0, 1000).status, ST_OK);
    struct dead_lettered dead = reject(0, 1000);
    ck_assert(dead.status == ST_OK || dead.status == ST_MESSAGE_NOT_FOUND);
    check_image();
}
END_TEST

static enum status replay_all(uint32_t partition, struct replay_entry *entries, uint32_t count)
{
    cmd = (struct command){.type = COMMAND_REPLAY};
    cmd.replay = (struct command_replay){.topic_id = topic("a.dlq")->id,
                                         .partition = partition,
                                         .target_topic_id = 1,
                                         .entry_count = count,
                                         .entries = entries};
    return apply();
}

static struct replay_entry replay_of(uint64_t offset, uint32_t hash)
{
    return (struct replay_entry){.offset = offset, .hash = hash, .batch = batch_of_one("back")};
}

/* "a.dlq" gets four messages in partition 1, the third of them critical, and a reader. */
static void fill_dead_letters(void)
{
    (void)create("a.dlq", 2, false);
    const struct record records[] = {record_of(PRIORITY_NORMAL, 0), record_of(PRIORITY_NORMAL, 0),
                                     record_of(PRIORITY_CRITICAL, 0),
                                     record_of(PRIORITY_NORMAL, 0)};
    ck_assert_int_eq(publish("a.dlq", 1, records, 4), ST_OK);
    struct span topics[] = {span_text("a"), span_text("a.dlq")};
    struct joiner one = joiner("one", topics, 2);
    one.rejoin = true;
    ck_assert_int_eq(join(&one, 1), ST_OK);
}

START_TEST(replay_moves_messages)
{
    fill_dead_letters();
    struct replay_entry entries[] = {replay_of(1, 0), replay_of(2, 7)};
    ck_assert_int_eq(replay_all(1, entries, 2), ST_OK);
    ck_assert(result.replay.moved == 2 && result.replay.skipped == 0);
    ck_assert_str_eq(events, "append:a/0@10 gone:1 append:a/1@10 gone:2 ");
    const struct partition *p = topic("a.dlq")->partitions[1];
    ck_assert_uint_eq(p->message_count, 2);
    ck_assert_uint_eq(p->next_offset, 4);
    ck_assert_uint_eq(partition_priority_count(p, PRIORITY_CRITICAL), 0);
    ck_assert_uint_eq(partition_priority_count(p, PRIORITY_NORMAL), 2);
    uint64_t next = 0;
    ck_assert(!partition_next_in_lane(p, PRIORITY_CRITICAL, 0, &next));
    ck_assert(partition_next_in_lane(p, PRIORITY_NORMAL, 1, &next) && next == 3);
    ck_assert_uint_eq(topic("a")->partitions[0]->message_count, 11);

    uint64_t before = state_digest();
    ck_assert_int_eq(replay_all(1, entries, 2), ST_OK); /* a repeat */
    ck_assert(result.replay.moved == 0 && result.replay.skipped == 2);
    ck_assert_str_eq(events, "");
    ck_assert_uint_eq(state_digest(), before);
}
END_TEST

START_TEST(replay_takes_positions_along)
{
    fill_dead_letters();
    struct ack_entry acks[] = {{topic("a.dlq")->id, 1, 1}, {topic("a.dlq")->id, 1, 3}};
    cmd = (struct command){.type = COMMAND_ACK};
    cmd.ack = (struct command_ack){1, 2, acks};
    ck_assert_int_eq(apply(), ST_OK);
    const struct group_partition *gp = known("a.dlq", 1);
    ck_assert_uint_eq(gp->position, 0);
    struct replay_entry entry = replay_of(1, 0); /* one that was done: gone says so now */
    ck_assert_int_eq(replay_all(1, &entry, 1), ST_OK);
    ck_assert(!offset_set_has(&gp->done, 1) && group_partition_is_done(gp, 1));
    ck_assert_uint_eq(gp->position, 0);
    entry = replay_of(0, 0); /* the position goes over 0 and 1 */
    ck_assert_int_eq(replay_all(1, &entry, 1), ST_OK);
    ck_assert_uint_eq(gp->position, 2);
    entry = replay_of(2, 0); /* ... and over 3, which is done */
    ck_assert_int_eq(replay_all(1, &entry, 1), ST_OK);
    ck_assert_uint_eq(gp->position, 4);
    ck_assert(offset_set_is_empty(&gp->done));
}
END_TEST

START_TEST(replay_forgets_deliveries)
{
    fill_dead_letters();
    struct lease_entry leases[] = {
        {{1, topic("a.dlq")->id, 1, 0}, 4, 1, false, now_us + SECOND_US, now_us},
        {{1, topic("a.dlq")->id, 1, 2}, 1, 2, false, now_us + SECOND_US, now_us}};
    cmd = (struct command){.type = COMMAND_LEASE};
    cmd.lease = (struct command_lease){UINT64_MAX, 2, leases};
    ck_assert_int_eq(apply(), ST_OK);
    struct replay_entry entries[] = {replay_of(2, 0), replay_of(3, 0)};
    ck_assert_int_eq(replay_all(1, entries, 2), ST_OK);
    const struct group_partition *gp = known("a.dlq", 1);
    ck_assert_uint_eq(gp->retry_count, 0);
    ck_assert_uint_eq(gp->position, 0);
    ck_assert_int_eq(commit("one", "a.dlq", 1, 2, -1), ST_OK);
    ck_assert_uint_eq(gp->position, 4); /* over what is gone */
    ck_assert_int_eq(commit("one", "a.dlq", 1, 3, -1), ST_OK);
    ck_assert_uint_eq(gp->position, 4);
}
END_TEST

START_TEST(replay_skips_what_is_not_there)
{
    fill_dead_letters();
    ck_assert_int_eq(publish_one("a.dlq", 1, PRIORITY_NORMAL, MINUTE_US), ST_OK);
    uint64_t before = state_digest();
    struct replay_entry entries[] = {replay_of(4, 0), replay_of(5, 0), replay_of(UINT64_MAX, 0)};
    ck_assert_int_eq(replay_all(1, entries, 3), ST_OK);
    ck_assert(result.replay.moved == 0 && result.replay.skipped == 3); /* pending; not there yet */
    ck_assert_uint_eq(state_digest(), before);
}
END_TEST

START_TEST(replay_between_topics_that_are_not_there)
{
    fill_dead_letters();
    struct replay_entry entry = replay_of(0, 0);
    uint64_t before = state_digest();
    ck_assert_int_eq(replay_all(2, &entry, 1), ST_PARTITION_NOT_FOUND);
    cmd.replay.partition = 1;
    cmd.replay.target_topic_id = 77;
    ck_assert_int_eq(apply(), ST_TOPIC_NOT_FOUND);
    cmd.replay.target_topic_id = 1;
    cmd.replay.topic_id = 77;
    ck_assert_int_eq(apply(), ST_TOPIC_NOT_FOUND);
    ck_assert_uint_eq(state_digest(), before);
    cmd.replay.topic_id = topic("a.dlq")->id;
    cmd.replay.target_topic_id = topic("a.dlq")->id; /* to where it comes from: its end */
    cmd.replay.entries[0].hash = 1;
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_str_eq(events, "append:a.dlq/1@4 gone:0 ");
    ck_assert_uint_eq(topic("a.dlq")->partitions[1]->message_count, 4);
}
END_TEST

/* A group that comes when the first messages are gone. */
START_TEST(group_starts_behind_what_is_gone)
{
    fill_dead_letters();
    struct replay_entry entries[] = {replay_of(0, 0), replay_of(1, 0)};
    ck_assert_int_eq(replay_all(1, entries, 2), ST_OK);
    struct span topics[] = {span_text("a.dlq")};
    struct joiner other = joiner("other", topics, 1);
    cmd = (struct command){.type = COMMAND_GROUP_JOIN};
    cmd.group_join = (struct command_group_join){span_text("late"), &other, 1};
    ck_assert_int_eq(apply(), ST_OK);
    const struct group *late = machine_find_group(machine, span_text("late"));
    const struct group_partition *gp = group_find_partition(late, topic("a.dlq")->id, 1);
    ck_assert_ptr_nonnull(gp);
    ck_assert_uint_eq(gp->position, 2);
}
END_TEST

Suite *suite_machine_dead_letter(void)
{
    Suite *suite = suite_create("machine_dead_letter");
    TCase *tcase = tcase_create("machine_dead_letter");
    tcase_add_checked_fixture(tcase, setup, fixture_teardown);
    tcase_add_test(tcase, reject_makes_the_topic_and_the_letter);
    tcase_add_test(tcase, last_nack_is_counted_and_remembered);
    tcase_add_test(tcase, passed_deadline_is_nobodys);
    tcase_add_test(tcase, rejected_delivery_cannot_be_nacked);
    tcase_add_test(tcase, dead_letter_of_a_retry_forgets_it);
    tcase_add_test(tcase, message_that_is_done_makes_no_letter);
    tcase_add_test(tcase, dead_letter_of_a_gone_place);
    tcase_add_test(tcase, message_without_a_batch_is_dropped);
    tcase_add_test(tcase, hash_says_which_partition);
    tcase_add_test(tcase, no_room_for_the_topic);
    tcase_add_test(tcase, quota_refusal_changes_nothing);
    tcase_add_test(tcase, repeated_reject_after_a_rewind);
    tcase_add_test(tcase, repeated_last_nack_after_a_rewind);
    tcase_add_test(tcase, reject_of_a_nacked_delivery);
    tcase_add_test(tcase, replay_moves_messages);
    tcase_add_test(tcase, replay_takes_positions_along);
    tcase_add_test(tcase, replay_forgets_deliveries);
    tcase_add_test(tcase, replay_skips_what_is_not_there);
    tcase_add_test(tcase, replay_between_topics_that_are_not_there);
    tcase_add_test(tcase, group_starts_behind_what_is_gone);
    suite_add_tcase(suite, tcase);
    return suite;
}
