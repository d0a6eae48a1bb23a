/* Bare-metal device for QEMU's mps2-an385: UART0, a free-running timer, reset through the system control block.
 *
 * Streams: count (its value is its sample number: tests check every one), temp, door. Actuators: valve (safe 0), rate
 * (samples per second), burst (that many at once), reset (true: reboots), forget (true: the counter in no-init RAM is
 * lost, as in a power cut). */
#include "fwb.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define TIMER_CTRL REG(0x40000000)
#define TIMER_VALUE REG(0x40000004)
#define TIMER_RELOAD REG(0x40000008)
#define UART_DATA REG(0x40004000)
#define UART_STATE REG(0x40004004)
#define UART_CTRL REG(0x40004008)
#define UART_INTCLEAR REG(0x4000400c)
#define UART_BAUDDIV REG(0x40004010)
#define NVIC_ENABLE REG(0xe000e100)
#define AIRCR REG(0xe000ed0c)

enum { COUNT, TEMP, DOOR };
enum { VALVE, RATE, BURST, RESET, FORGET };

static const fwb_stream streams[] = {
    { "count", "1", FWB_U32, { .u = 0 }, { .u = UINT32_MAX }, 0 },
    { "temp", "Cel", FWB_F32, { .f = -40 }, { .f = 125 }, 0 },
    { "door", "1", FWB_BOOL, { .u = 0 }, { .u = 1 }, 0 },
};

static const fwb_actuator actuators[] = {
    { "valve", "%", FWB_F32, { .f = 0 }, { .f = 100 }, { .f = 0 } },
    { "rate", "Hz", FWB_U32, { .u = 0 }, { .u = 20000 }, { .u = 100 } },
    { "burst", "1", FWB_U32, { .u = 0 }, { .u = 100000 }, { .u = 0 } },
    { "reset", "1", FWB_BOOL, { .u = 0 }, { .u = 1 }, { .u = 0 } },
    { "forget", "1", FWB_BOOL, { .u = 0 }, { .u = 1 }, { .u = 0 } },
};

/* What survives a reset. A product adds a CRC, and its boot ids survive a power cut (flash) or are random. */
typedef struct {
    uint32_t magic, boot, next;
} kept_t;

static __attribute__((section(".noinit"))) volatile kept_t kept;
#define MAGIC 0x66776231u

static fwb_t bridge;
static fwb_record ring[4096];
static fwb_config config;
static fwb_value place[5];
static volatile uint8_t received[1024];
static volatile uint32_t received_in, received_out;
static uint32_t rate_hz;
static uint8_t restart, counters_stopped, warm;

void uart0_received(void);

void uart0_received(void)
{
    UART_INTCLEAR = 2;
    while (UART_STATE & 2) {
        uint8_t byte = (uint8_t)UART_DATA;
        if (received_in - received_out < sizeof received) received[received_in++ % sizeof received] = byte;
    }
}

/* A 25 MHz timer that counts down and wraps; called far more often than every 171 s. */
static uint64_t now_us(void *ctx)
{
    static uint32_t last = UINT32_MAX, rest;
    static uint64_t us;
    (void)ctx;
    uint32_t value = TIMER_VALUE;
    uint32_t ticks = last - value + rest;
    last = value;
    us += ticks / 25;
    rest = ticks % 25;
    return us;
}

static size_t put(void *ctx, const uint8_t *data, size_t size)
{
    size_t taken = 0;
    (void)ctx;
    while (taken < size && !(UART_STATE & 1)) UART_DATA = data[taken++];
    return taken;
}

static void record(uint32_t count)
{
    while (count--) {
        uint32_t number = fwb_next_sample(&bridge);
        if (number % 10 == 9) fwb_sample(&bridge, TEMP, (fwb_value){ .f = 20.0f + (float)(number % 1000) * 0.01f });
        else if (number % 100 == 50) fwb_sample(&bridge, DOOR, (fwb_value){ .u = number / 100 % 2 });
        else fwb_sample(&bridge, COUNT, (fwb_value){ .u = number });
        if (!counters_stopped) kept.next = number + 1;
    }
}

static enum fwb_status actuate(void *ctx, uint8_t index, fwb_value value, fwb_value *readback)
{
    (void)ctx;
    place[index] = value;
    *readback = place[index];
    if (index == RATE) rate_hz = value.u;
    if (index == BURST) record(value.u);
    if (index == RESET) restart = value.u != 0;
    if (index == FORGET) counters_stopped = value.u != 0;
    return FWB_DONE;
}

static void health(void *ctx, fwb_health *h)
{
    extern uint32_t stack_limit[];
    uint32_t free = 0;
    (void)ctx;
    while (((volatile uint32_t *)stack_limit)[free] == 0xfeedbeef) free++;
    h->stack_free = free * 4;
    h->reset_cause = warm ? FWB_RESET_SOFTWARE : FWB_RESET_POWER;
}

static const fwb_callbacks callbacks = { put, now_us, actuate, health, NULL, NULL };

static void start(void)
{
    TIMER_RELOAD = UINT32_MAX;
    TIMER_VALUE = UINT32_MAX;
    TIMER_CTRL = 1;
    UART_BAUDDIV = 27; /* 921,600 from 25 MHz */
    UART_CTRL = 1 | 2 | 8;
    NVIC_ENABLE = 1;

    warm = kept.magic == MAGIC;
    config = (fwb_config){ .device = "mps2-an385", .firmware = "1.0.0", .boot = warm ? kept.boot + 1 : 1,
                           .n_streams = 3, .n_actuators = 5, .streams = streams, .actuators = actuators, .ring = ring,
                           .ring_size = 4096, .silence_ms = 1000, .health_ms = 1000, .call = &callbacks };
    if (warm && kept.next != UINT32_MAX) {
        config.has_prev = 1;
        config.prev_boot = kept.boot;
        config.prev_next = kept.next;
    }
    kept.magic = MAGIC;
    kept.boot = config.boot;
    kept.next = 0;
    fwb_init(&bridge, &config);
    fwb_log(&bridge, 1, warm ? "restarted" : "started");
}

int main(void)
{
    start();
    uint64_t due_us = now_us(NULL);
    for (;;) {
        while (received_out != received_in) {
            uint8_t byte = received[received_out % sizeof received];
            received_out++;
            fwb_receive(&bridge, &byte, 1);
        }
        uint64_t now = now_us(NULL);
        if (!rate_hz || now > due_us + 1000000) due_us = now;
        for (; rate_hz && now >= due_us; due_us += 1000000 / rate_hz) record(1);
        fwb_poll(&bridge);
        if (counters_stopped) kept.next = UINT32_MAX; /* "unknown" */
        if (restart && bridge.tx_at == bridge.tx_size) AIRCR = 0x05fa0004;
    }
}
