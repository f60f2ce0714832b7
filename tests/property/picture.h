/* A naive picture of machine and delivery together: the model of the machine, and beside it what is
 * believed of each delivery, in plain arrays that are walked for every answer.
 *
 * The test does something to the real thing and tells the picture, which then judges every answer:
 * those that come at once, those of parked polls, and what delivery asked to be journalled. */
#ifndef TESTS_PROPERTY_PICTURE_H
#define TESTS_PROPERTY_PICTURE_H

#include "tests/property/model.h"
#include "tests/property/property.h"
#include "tests/unit/delivery_world.h"

enum {
    PICTURE_GROUPS = 2,
    PICTURE_NAMES = 2, /* of topics that are published to */
    PICTURE_PARTITIONS = 3,
    PICTURE_MEMBERS = 5, /* of a group */
    SESSIONS_MAX = 64,
    REQUESTS_MAX = 512,
    RECEIPTS_MAX = 400,
    RECEIPTS_PER_ACK = 4,
    JOBS_MAX = 512,
    UNDER_WAY_MAX = 64,
    ASKED_MAX = 64,
};

enum fact_state { FREE, LEASED, SETTLING, DELAYED, EXPIRED, RELEASED };
enum fact_by { BY_ACK, BY_NACK, BY_DEAD_LETTER, BY_TRANSACTION };

struct fact { /* what is believed of one message in one group */
    enum fact_state state;
    enum fact_by by;         /* SETTLING: the last that began */
    uint32_t commands;       /* SETTLING: under way */
    uint64_t lease_id;       /* of the last delivery; 0: of an earlier run */
    uint32_t holder;         /* the member's number; 0: nobody */
    uint32_t count;          /* deliveries that count */
    uint32_t deliveries_max; /* as the member wanted it that had it last; 0: the topic's */
    int64_t visibility_us;   /* likewise */
    int64_t due_us;          /* LEASED: the deadline; DELAYED: not before */
    int64_t first_us, last_us;
    int64_t kept_us;     /* SETTLING: the deadline before; 0: there was none */
    bool shortened;      /* SETTLING: that one is nowhere but here */
    bool in_transaction; /* SETTLING: one of the commands is the end of its transaction */
    bool resumed;        /* its deadline is nowhere but here */
    bool doubtful;       /* a commit went back, and the machine may know nothing of it any more */
};

struct picture_session {
    uint32_t group;
    uint32_t number;
    int64_t last_seen_us;
    int64_t looked_us; /* when its timer fired last; its polls without clients end then */
    int64_t armed_us;  /* its timer */
    bool evicting;
    /* How much polls had room for that a lane with messages got nothing of. */
    uint32_t hunger[PRIORITY_COUNT];
    /* How many polls in a row got messages of a lane from others, but none of those that there were
     * in this partition; since its partitions are what they are. */
    uint32_t skipped[MODEL_TOPICS][PICTURE_PARTITIONS][PRIORITY_COUNT];
    bool owned[MODEL_TOPICS][PICTURE_PARTITIONS]; /* at the last poll */
    uint32_t generation;
    /* What it was told of its partitions, by a join or a cooperative heartbeat of this run: since
     * which command it owned each; 0: it did not. */
    bool was_told;
    uint64_t told[MODEL_TOPICS][PICTURE_PARTITIONS];
};

struct window { /* joins to a group without members */
    bool open;
    uint32_t joiners;
    int64_t opened_us, closes_us;
};

enum request_kind {
    REQUEST_POLL,
    REQUEST_JOIN,
    REQUEST_ACK,
    REQUEST_RESOLVE,
    REQUEST_TRANSACTION_ACK
};

struct expected { /* an answer */
    enum status status;
    bool already;
    bool dead;
    uint32_t delivery_count;
    int64_t next_us;
    bool details; /* the last two are told */
};

struct request {
    struct picture *picture;
    struct arena arena;
    enum request_kind kind;
    bool done; /* answered: freed at the end of the step */
    bool fresh;
    uint32_t group;
    uint32_t number; /* of the member */
    bool parked;
    uint64_t order;  /* of parking */
    int64_t ends_us; /* of the wait */
    union {
        struct poll_request poll;
        struct join_request join;
        struct ack_request ack;
        struct resolve_request resolve;
        struct transaction_ack_request transaction_ack;
    };
    struct receipt receipts[RECEIPTS_PER_ACK];
    struct expected expected; /* of a resolve request, when its `done` is called */
};

struct expected_job { /* a dead letter that is to be made */
    struct delivery_place place;
    struct model_place at;
    uint32_t group;
    uint64_t lease_id;
    uint32_t delivery_count;
    enum dead_letter_reason reason;
    struct resolve_request *asked;
    uint32_t holder;
    int64_t first_us, last_us;
    struct span error;
    char error_text[MODEL_REASON_SIZE];
};

struct under_way { /* a command in the journal that brings messages */
    const struct world_entry *entry;
    uint32_t topic; /* where they go; MODEL_NAMES: any dead-letter topic; MODEL_TOPICS: none */
    uint32_t count;
    struct model_sent sent[MODEL_ENTRIES];
    struct dead_letter_job *jobs[MODEL_ENTRIES];
    uint32_t job_count;
};

struct asked { /* a command that delivery is to submit by itself */
    enum command_type type;
    uint32_t group, number;    /* GROUP_LEAVE; GROUP_JOIN: group and joiners; GROUP_REVOKE: group */
    uint32_t topic, partition; /* DELAY_DUE */
    uint64_t transaction;      /* TRANSACTION_END */
};

enum moment { CALM, POLLING, SERVING, TIMERS, DRAINING };

struct picture {
    struct dice dice;
    bool all_weighted; /* of this round: topics that are read by weight, without a limit */
    bool hoarding;     /* of this round: much is published before anybody polls */
    bool cooperative;  /* of this round: most members are */
    struct world world;
    struct model model;
    struct arena arena; /* of a step */
    struct fact facts[PICTURE_GROUPS][MODEL_TOPICS][PICTURE_PARTITIONS][MODEL_OFFSETS];
    bool due_asked[MODEL_TOPICS][PICTURE_PARTITIONS]; /* a DELAY_DUE is under way */
    bool end_asked[MODEL_TRANSACTIONS];               /* since its time is over; by number - 1 */
    bool revoke_asked[PICTURE_GROUPS]; /* a GROUP_REVOKE was submitted, and nothing changed since */
    struct window windows[PICTURE_GROUPS];
    struct picture_session sessions[SESSIONS_MAX];
    uint32_t session_count;
    struct request *requests[REQUESTS_MAX]; /* open ones */
    uint32_t request_count;
    struct receipt receipts[RECEIPTS_MAX]; /* the last ones, as a ring */
    uint64_t receipt_count;
    struct expected_job expected_jobs[JOBS_MAX];
    uint32_t expected_job_count;
    struct dead_letter_job *new_jobs[JOBS_MAX]; /* handed over, not judged yet */
    uint32_t new_job_count;
    struct dead_letter_job *jobs[JOBS_MAX]; /* judged: to be made, or to fail */
    uint32_t job_count;
    struct under_way under_way[UNDER_WAY_MAX];
    uint32_t under_way_count;
    struct asked asked[ASKED_MAX];
    uint32_t asked_count;
    struct delivery_stats stats; /* since the start */
    enum moment moment;
    uint64_t boot_id;
    uint64_t last_lease_id;
    uint64_t order;
    uint32_t next_member;
    uint32_t index; /* of the step */
};

static inline uint64_t roll(struct picture *p, uint64_t sides)
{
    return dice_below(&p->dice, sides);
}

/* picture.c */
void picture_init(struct picture *p, uint64_t seed);
void picture_fini(struct picture *p);
struct fact *picture_fact(struct picture *p, uint32_t group, struct model_place at);
/* False: the message is not there any more, or not for the group. */
bool picture_find(struct picture *p, const struct receipt *receipt, uint32_t *out_group,
                  struct model_place *out_at);
bool picture_is_available(struct picture *p, uint32_t group, struct model_place at);
uint32_t picture_held(struct picture *p, uint32_t group, uint32_t number);
uint32_t picture_in_flight(struct picture *p, uint32_t group, uint32_t topic, uint32_t partition);
const struct model_member *picture_member(const struct picture *p, uint32_t group,
                                          uint32_t number); /* NULL: none */
/* Who had it last in an earlier run is not known: its reader's wishes count as theirs. */
void picture_inherit(struct picture *p, uint32_t group, struct model_place at);
/* What counts for a message that is out or was: as the member wanted it that had it last. */
uint32_t picture_deliveries_max(struct picture *p, uint32_t group, struct model_place at);
int64_t picture_visibility_us(struct picture *p, uint32_t group, struct model_place at);
struct picture_session *picture_session(struct picture *p, uint32_t group, uint32_t number);
void picture_touch(struct picture *p, uint32_t group, uint32_t number);
/* The member learns of all that it owns. */
void picture_tell(struct picture *p, uint32_t group, uint32_t number);
bool picture_owns(const struct picture *p, uint32_t group, uint32_t number, uint32_t topic,
                  uint32_t partition);
bool picture_is_ours(const struct picture *p, uint64_t lease_id); /* of this run */
void picture_forget(struct picture *p, uint32_t group, uint32_t topic, uint32_t partition);
struct request *picture_request(struct picture *p, enum request_kind kind, uint32_t group,
                                uint32_t number);
void picture_end_requests(struct picture *p); /* frees the answered ones */
/* The settings, open deliveries and counts that can be asked for; and where nothing is under way,
 * that a restart would know what there is to know. */
void picture_compare(struct picture *p);

/* picture_time.c */
bool picture_is_due(const struct picture *p, int64_t time_us); /* a timer set for then has fired */
void picture_pass(struct picture *p, int64_t us);
/* Serves parked polls, judges their answers, and that no poll waits in vain. */
void picture_settle(struct picture *p);
enum restart { RESTART_SHUTDOWN, RESTART_CRASH };
void picture_restart(struct picture *p, enum restart how, bool from_snapshot);

/* picture_apply.c */
void picture_on_applied(void *user, const struct world_entry *entry);
struct under_way *picture_under_way(struct picture *p, const struct world_entry *entry);
/* How many more messages each partition of the topic takes, in the model. */
uint32_t picture_space(const struct picture *p, uint32_t topic);

/* picture_poll.c */
bool picture_has_messages(struct picture *p, uint32_t group, uint32_t number);
void picture_on_poll(struct poll_request *poll);
void picture_check_parked(struct picture *p);
uint32_t picture_parked(const struct picture *p, uint32_t group, uint32_t number);

/* picture_receipt.c: each predicts what the real one, called next, answers at once. */
enum verdict {
    VERDICT_WRONG_GROUP,
    VERDICT_MISSING,
    VERDICT_ALREADY,
    VERDICT_EXPIRED,
    VERDICT_RESERVED,
    VERDICT_COMMAND
};
enum verdict picture_ack(struct picture *p, const struct receipt *receipt, uint32_t group_id);
enum resolving { RESOLVING_ANSWERED, RESOLVING_COMMAND, RESOLVING_JOB };
enum resolving picture_resolve(struct picture *p, struct resolve_request *resolve,
                               struct expected *out);
void picture_release(struct picture *p, const struct receipt *receipt);
/* The status, and which receipt is to blame; `count` and ST_OK: all go into a command. */
enum status picture_transaction_ack(struct picture *p, const struct receipt *receipts,
                                    uint32_t count, uint32_t *out_refused);
/* One command of the message is applied. */
void picture_settled(struct picture *p, uint32_t group, struct model_place at, enum fact_by by,
                     int64_t not_before_us);

/* picture_transactions.c */
void picture_transaction_applied(struct picture *p, const struct world_entry *entry,
                                 const struct model_sent *sent);

/* picture_jobs.c: dead letters. */
void picture_on_job(void *user, struct dead_letter_job *job);
void picture_expect_job(struct picture *p, uint32_t group, struct model_place at,
                        enum dead_letter_reason reason, struct resolve_request *asked);
void picture_match_jobs(struct picture *p);
void picture_make_jobs(struct picture *p, uint32_t count); /* a command for some of them */
void picture_fail_job(struct picture *p);
void picture_on_resolved(struct resolve_request *resolve);
void picture_dead_letter_applied(struct picture *p, const struct under_way *under_way,
                                 const struct result *result);
void picture_drop_jobs(struct picture *p);

#endif
