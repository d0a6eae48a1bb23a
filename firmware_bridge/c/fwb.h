/* fwb.h - device side of the firmware bridge protocol, version 1 (see PROTOCOL.md). This header is the manual.
 *
 * C99, no malloc, no globals, no recursion: all state is in one fwb_t and one sample ring that you provide.
 *
 * Size, arm-none-eabi-gcc 12 -Os: at most 6 KB of code on Cortex-M0 and M3. sizeof(fwb_t) is about 700 bytes with the
 * default limits, plus 16 bytes per sample in the ring. Stack: at most 320 bytes below any function of this header,
 * your callbacks not included (`make size` measures both and fails when they grow).
 *
 * How to use it:
 *
 *     static fwb_t bridge;
 *     static fwb_record ring[256];                     // a power of two
 *     static fwb_config config = { ... };              // it holds boot: filled before fwb_init, then left alone
 *     fwb_init(&bridge, &config);                      // actuators go to their safe values: they must be ready
 *     for (;;) {
 *         fwb_receive(&bridge, bytes, count);          // whatever the UART received since
 *         if (time to measure) fwb_sample(&bridge, 0, (fwb_value){ .f = celsius });
 *         fwb_poll(&bridge);                           // at least every few ms: sends, and watches over the host
 *     }
 *
 * Contexts: fwb_sample and fwb_fault may be called from interrupts when lock and unlock are given. Everything else is
 * called from one context (the main loop or one task). Callbacks run in the context of the function that calls them.
 */
#ifndef FWB_H
#define FWB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FWB_VERSION 1

/* Longest decoded frame taken from the host. 64 is enough for this version; at most 254. */
#ifndef FWB_RX_MAX
#define FWB_RX_MAX 96
#endif

/* Longest decoded frame sent. 160 at least; 254 carries the most samples per frame. */
#ifndef FWB_TX_MAX
#define FWB_TX_MAX 254
#endif

#define FWB_RECEIPTS 4 /* fixed by the protocol */
#define FWB_LOG_MAX 64 /* fixed by the protocol */
#define FWB_UNKNOWN UINT32_MAX /* for a health figure that you do not measure */

/* What functions return. */
enum {
    FWB_OK = 0,
    FWB_E_CONFIG = -1, /* fwb_init: see there what is required. The bridge stays unusable. */
    FWB_E_INDEX = -2,  /* no such stream, or no pending command of that id */
    FWB_E_BUSY = -3,   /* fwb_log: the line before has not gone out yet; this one is counted and dropped */
    FWB_E_FRAME = -4,  /* fwb_frame_open: not COBS, or too short */
    FWB_E_CRC = -5     /* fwb_frame_open: the CRC differs */
};

/* Type of a stream or actuator, and the member of fwb_value that it uses. */
enum fwb_type { FWB_BOOL = 0 /* u: 0 or 1 */, FWB_I32 = 1 /* i */, FWB_U32 = 2 /* u */, FWB_F32 = 3 /* f */ };

typedef union {
    float f;
    int32_t i;
    uint32_t u;
} fwb_value;

/* What became of a command. An actuate callback returns one of the first three. */
enum fwb_status {
    FWB_DONE = 0,    /* carried out; the read-back is what the actuator now says */
    FWB_PENDING = 1, /* started; fwb_actuated will tell the end */
    FWB_FAILED = 2,  /* not carried out, or the read-back contradicts it */
    FWB_RANGE = 3, FWB_TYPE = 4, FWB_NO_ACTUATOR = 5, FWB_EXPIRED = 6, FWB_STALE = 8, /* refused by the library */
    FWB_SAFED = 9    /* was pending when the safe state came */
};

/* Why the safe state was entered. */
enum fwb_cause { FWB_BY_BOOT = 0, FWB_BY_SILENCE = 1, FWB_BY_FIRMWARE = 2 };

enum fwb_reset { FWB_RESET_UNKNOWN, FWB_RESET_POWER, FWB_RESET_PIN, FWB_RESET_WATCHDOG, FWB_RESET_SOFTWARE,
                 FWB_RESET_BROWNOUT, FWB_RESET_FAULT };

/* One stream: a sequence of samples of one quantity. Name: [A-Za-z][A-Za-z0-9_.-]*, at most 31 bytes. Unit: UCUM, at
 * most 15 bytes ("Cel", "Pa", "1"). min and max: what the sensor can say; others are marked out of range. */
typedef struct {
    const char *name;
    const char *unit;
    uint8_t type;
    fwb_value min, max;
    uint32_t period_us; /* 0: irregular */
} fwb_stream;

/* One actuator. A command outside [min, max] is refused without calling you. safe: what it is set to when the host is
 * silent, and at start. */
typedef struct {
    const char *name;
    const char *unit;
    uint8_t type;
    fwb_value min, max;
    fwb_value safe;
} fwb_actuator;

/* A sample as the ring keeps it: 16 bytes. Yours to place, not to touch. */
typedef struct {
    uint64_t time_us;
    uint32_t raw;
    uint8_t stream;
    uint8_t fault;
} fwb_record;

/* What your health callback may fill in; every member comes preset to "unknown". */
typedef struct {
    uint32_t reset_cause; /* enum fwb_reset */
    uint32_t stack_free;  /* bytes never used since boot */
    uint32_t heap_free;
    uint32_t brownouts;
} fwb_health;

/* What the library asks of you. ctx is config.ctx. */
typedef struct {
    /* Takes up to size bytes for the line and returns how many it took, 0 when none fits. Must not wait. */
    size_t (*write)(void *ctx, const uint8_t *data, size_t size);

    /* Microseconds since boot; never goes back. Called from interrupts when fwb_sample is. */
    uint64_t (*now_us)(void *ctx);

    /* Sets actuator `index` to `value` (type and range are checked) and stores in *readback what it reads back, never
     * what was asked. Returns FWB_DONE, FWB_PENDING or FWB_FAILED. May be NULL without actuators.
     *
     * The safe state calls it too, first inside fwb_init: the hardware must be ready by then. fwb_command_id is 0 there,
     * FWB_FAILED means "call me again at the next poll", FWB_DONE and FWB_PENDING that the safe value was taken, and
     * *readback is not used. */
    enum fwb_status (*actuate)(void *ctx, uint8_t index, fwb_value value, fwb_value *readback);

    /* Fills in what is known; called every health_ms. May be NULL. */
    void (*health)(void *ctx, fwb_health *health);

    /* Keep interrupts that call fwb_sample out, for some 30 instructions. Both NULL when none does. */
    void (*lock)(void *ctx);
    void (*unlock)(void *ctx);
} fwb_callbacks;

/* Everything about the device. Must stay valid and unchanged while the bridge is used. It holds `boot`, so it is filled
 * before fwb_init and kept in RAM (static); streams, actuators and callbacks can be in flash. */
typedef struct {
    const char *device;   /* identity, unique on the site, at most 32 bytes: a serial number */
    const char *firmware; /* version, at most 24 bytes */
    uint32_t boot;        /* differs from that of earlier boots: counter in flash or no-init RAM, or a random number */
    uint32_t prev_boot;   /* when has_prev: the boot before this one, and what */
    uint32_t prev_next;   /* fwb_next_sample said at its end; from no-init RAM */
    uint8_t has_prev;
    uint8_t n_streams;    /* at most 64 */
    uint8_t n_actuators;  /* at most 32 */
    const fwb_stream *streams;
    const fwb_actuator *actuators;
    fwb_record *ring;
    uint32_t ring_size;   /* samples; a power of two */
    uint32_t silence_ms;  /* host silence that leads to the safe state; not 0 with actuators */
    uint32_t health_ms;   /* how often HEALTH is sent; 0: never */
    const fwb_callbacks *call;
    void *ctx;
} fwb_config;

/* What the library counted since fwb_init; read it, do not write it. */
typedef struct {
    uint32_t good;         /* frames from the host */
    uint32_t crc_errors;
    uint32_t bad_frames;   /* not COBS, or too short */
    uint32_t oversize;     /* longer than FWB_RX_MAX */
    uint32_t bad_messages; /* good CRC, but not what PROTOCOL.md says */
    uint32_t unknown;      /* good CRC, type not assigned */
    uint32_t overwritten;  /* samples that the host had not made durable */
    uint32_t log_dropped;
    uint32_t safe_entries;
} fwb_stats;

typedef struct {
    uint32_t id;
    uint32_t raw;
    uint8_t actuator, status, has_value, send;
} fwb_receipt;

/* The bridge. Provide the memory; only `stats` is for you to read. */
typedef struct {
    const fwb_config *config;
    fwb_stats stats;
    uint32_t session;
    uint32_t acked, first, sent, next; /* sample numbers: PROTOCOL.md section 5 */
    uint32_t last_id, command_id;
    uint32_t ping_token;
    uint32_t unplaced;                 /* actuators that have not taken their safe value yet */
    uint64_t heard_us, health_us, safe_us, silent_us, log_us;
    fwb_receipt receipts[FWB_RECEIPTS];
    uint8_t receipt_at;
    uint8_t live, commanded, safe, safe_cause;
    uint8_t send_info, send_safe, send_pong, send_zero, log_turn;
    uint8_t schema_at;
    uint8_t seq;
    uint8_t log_level, log_size;
    uint8_t rx_skip;
    uint16_t rx_size, tx_size, tx_at;
    char log[FWB_LOG_MAX];
    uint8_t rx[FWB_RX_MAX + 1];
    uint8_t tx[FWB_TX_MAX + 2];
} fwb_t;

/* Prepares *bridge, puts every actuator in its safe value, and queues the announcement. Returns FWB_OK, or FWB_E_CONFIG
 * when a text is missing or too long, a type unknown, ring_size not a power of two, a count above its limit, silence_ms
 * 0 with actuators, or a callback missing that is needed. */
int fwb_init(fwb_t *bridge, const fwb_config *config);

/* Takes `size` bytes from the line, in pieces of any size. Carries out commands before it returns. Sends nothing:
 * fwb_poll does. */
void fwb_receive(fwb_t *bridge, const uint8_t *data, size_t size);

/* Call when the line was reopened (USB plugged in again): forgets the unfinished frame both ways. Samples stay. */
void fwb_reconnected(fwb_t *bridge);

/* Sends what the line takes now, at most 16 frames, and enters the safe state when it is time. Never waits. Call it at
 * least every few ms: the safe state comes at most one call later than silence_ms. */
void fwb_poll(fwb_t *bridge);

/* Records one sample of `stream`, stamped now. When the ring is full the oldest is overwritten and will be declared.
 * Returns FWB_OK or FWB_E_INDEX. */
int fwb_sample(fwb_t *bridge, uint8_t stream, fwb_value value);

/* Records that `stream` could not be measured: the host sees a numbered sample of bad quality. Returns as fwb_sample.
 */
int fwb_fault(fwb_t *bridge, uint8_t stream);

/* The number that the next sample gets. Keep it in no-init RAM after each sample to make a reset's gap known
 * (prev_next). */
uint32_t fwb_next_sample(const fwb_t *bridge);

/* Queues one log line (level 0 debug to 3 error), cut to FWB_LOG_MAX bytes of UTF-8. Returns FWB_OK or FWB_E_BUSY. */
int fwb_log(fwb_t *bridge, uint8_t level, const char *text);

/* Ends command `id`, for which actuate returned FWB_PENDING; not from inside actuate. status: FWB_DONE or FWB_FAILED.
 * Returns FWB_OK, or FWB_E_INDEX when no such command is pending (the safe state ended it, or four came since). */
int fwb_actuated(fwb_t *bridge, uint32_t id, enum fwb_status status, fwb_value readback);

/* The id of the command being carried out; valid inside actuate, to keep for fwb_actuated. 0 when the safe state calls.
 */
uint32_t fwb_command_id(const fwb_t *bridge);

/* Enters the safe state now, because the firmware saw a reason. */
void fwb_safe(fwb_t *bridge);

/* CRC-32 as in zlib: fwb_crc32("123456789", 9) is 0xCBF43926. */
uint32_t fwb_crc32(const uint8_t *data, size_t size);

/* Makes a frame in place. frame[1] to frame[size] hold type, seq and payload (size at most 250); frame must have size +
 * 6 bytes. Returns the bytes to send, the final 0x00 included. */
size_t fwb_frame_seal(uint8_t *frame, size_t size);

/* Opens a frame in place: `size` bytes as they stood between two 0x00. Returns how many bytes of type, seq and payload
 * are now at frame[0], at least 2; or FWB_E_FRAME or FWB_E_CRC. */
int fwb_frame_open(uint8_t *frame, size_t size);

#ifdef __cplusplus
}
#endif
#endif
