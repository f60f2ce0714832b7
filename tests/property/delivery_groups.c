/* Steps about who reads what in a group: hand-overs, more partitions, positions set from outside.
 */
#include "std/check.h"
#include "tests/property/delivery_steps.h"

enum { REVOKED_MAX = 6 };

static bool one_in(struct picture *p, uint64_t n)
{
    return roll(p, n) == 0;
}

static bool is_listed(const struct assigned *list, uint32_t count, const struct model_topic *t,
                      uint32_t partition)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += list[i].topic_id == t->id && list[i].partition == partition;
    CHECK(found <= 1);
    return found == 1;
}

/* What a cooperative member is told of its partitions: each that came, once; each that is to go. */
static void judge_handover(struct picture *p, uint32_t group, uint32_t number,
                           const struct heartbeat_request *beat)
{
    const struct model_group *g = &p->model.groups[group];
    const struct picture_session *s = picture_session(p, group, number);
    int at = model_member_by_number(g, number);
    uint32_t gained = 0, going = 0, awaited = 0;
    int64_t revoke_by_us = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++) {
            const struct model_topic *topic = &p->model.topics[t];
            const struct model_progress *progress = &g->progress[t][i];
            awaited += progress->known && progress->successor == at;
            bool owns = picture_owns(p, group, number, t, i);
            bool came = owns && (s->was_told ? s->told[t][i] != progress->owner_index
                                             : beat->generation >= 0 &&
                                                   progress->owner_generation > beat->generation);
            bool goes = owns && progress->successor != MODEL_NOBODY;
            gained += came;
            going += goes;
            CHECK(!came || is_listed(beat->gained, beat->gained_count, topic, i));
            CHECK(!goes || is_listed(beat->to_revoke, beat->to_revoke_count, topic, i));
            if (goes && (revoke_by_us == 0 || progress->revoke_by_us < revoke_by_us))
                revoke_by_us = progress->revoke_by_us;
        }
    }
    CHECK(beat->gained_count == gained && beat->to_revoke_count == going);
    CHECK(beat->revoke_by_us == revoke_by_us);
    CHECK(beat->waits == (awaited > 0));
    CHECK(beat->member_cooperative == g->members[at].cooperative);
    picture_tell(p, group, number);
}

static void judge_heartbeat(struct picture *p, uint32_t group, uint32_t number,
                            const struct heartbeat_request *beat)
{
    const struct model_group *g = &p->model.groups[group];
    const struct model_member *member = picture_member(p, group, number);
    CHECK(beat->status == ST_OK);
    CHECK(beat->current_generation == g->generation);
    bool old = beat->generation >= 0 && beat->generation != (int64_t)g->generation;
    CHECK(beat->rebalance_required ==
          (old && (beat->generation > (int64_t)g->generation ||
                   member->changed_generation > (uint64_t)beat->generation)));
    uint32_t owned = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++) {
            bool owns = picture_owns(p, group, number, t, i);
            CHECK(!owns || is_listed(beat->assigned, beat->assigned_count, &p->model.topics[t], i));
            owned += owns;
        }
    }
    CHECK(beat->assigned_count == owned);
    if (beat->cooperative)
        judge_handover(p, group, number, beat);
}

void step_heartbeat(struct picture *p)
{
    uint32_t group = (uint32_t)roll(p, PICTURE_GROUPS), number = picture_pick_member(p, group);
    struct heartbeat_request beat = {.group = span_text(model_group_name(group)),
                                     .member_id = picture_id_of(p, number),
                                     .generation =
                                         one_in(p, 2) ? -1 : picture_pick_generation(p, group),
                                     .cooperative = one_in(p, 2),
                                     .arena = &p->arena};
    delivery_heartbeat(p->world.delivery, &beat, p->world.now_us);
    if (picture_member(p, group, number) == NULL) {
        CHECK(beat.status ==
              (p->model.groups[group].alive ? ST_MEMBER_NOT_FOUND : ST_GROUP_NOT_FOUND));
        return;
    }
    picture_touch(p, group, number);
    judge_heartbeat(p, group, number, &beat);
}

/* Most of what is to be let go of in the group, by one of its members, and some of anything. */
void step_revoke_some(struct picture *p)
{
    uint32_t group = (uint32_t)roll(p, PICTURE_GROUPS), number = picture_pick_member(p, group);
    const struct model_group *g = &p->model.groups[group];
    struct revoked_entry entries[REVOKED_MAX];
    struct command cmd = {.type = COMMAND_GROUP_REVOKE};
    uint32_t count = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t i = 0; i < PICTURE_PARTITIONS && count < REVOKED_MAX; i++) {
            const struct model_progress *progress = &g->progress[t][i];
            bool asked = progress->known && progress->successor != MODEL_NOBODY;
            if (asked && one_in(p, 2))
                number = g->members[progress->owner].number;
            if (asked ? !one_in(p, 4) : one_in(p, 20))
                entries[count++] = (struct revoked_entry){span_text(model_topic_name(t)), i};
        }
    }
    cmd.group_revoke = (struct command_group_revoke){
        .group = span_text(model_group_name(group)),
        .member_id = picture_id_of(p, number),
        .entries = entries,
        .entry_count = count,
        .generation = one_in(p, 4) ? picture_pick_generation(p, group) : -1,
    };
    if (cmd.group_revoke.generation < 0)
        cmd.group_revoke.generation = -1;
    world_submit(&p->world, &cmd);
}

void step_add_partition(struct picture *p)
{
    uint32_t topic = (uint32_t)roll(p, PICTURE_NAMES) + (one_in(p, 4) ? MODEL_NAMES : 0);
    struct command cmd = {.type = COMMAND_TOPIC_ADD_PARTITIONS};
    cmd.topic_add_partitions.name = span_text(model_topic_name(topic));
    cmd.topic_add_partitions.partition_count = 2 + (uint32_t)roll(p, PICTURE_PARTITIONS - 1);
    if (p->model.topics[topic].alive && !picture_journal_is_full(p))
        world_submit(&p->world, &cmd);
}

void step_reset_offsets(struct picture *p)
{
    uint32_t group = (uint32_t)roll(p, PICTURE_GROUPS), topic = (uint32_t)roll(p, PICTURE_NAMES);
    uint32_t partition = (uint32_t)roll(p, PICTURE_PARTITIONS);
    struct reset_entry entry = {
        .partition = one_in(p, 3) ? RESET_EVERY_PARTITION : partition,
        .to = (enum reset_to)roll(p, 3),
        .offset = roll(p, p->model.topics[topic].partitions[partition].next + 2),
    };
    struct command cmd = {.type = COMMAND_OFFSETS_RESET};
    cmd.offsets_reset = (struct command_offsets_reset){.group = span_text(model_group_name(group)),
                                                       .topic = span_text(model_topic_name(topic)),
                                                       .entries = &entry,
                                                       .entry_count = 1};
    world_submit(&p->world, &cmd);
}
