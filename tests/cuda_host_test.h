/* What cuda_host.h, which stands in for CUDA, offers to the tests. */
#ifndef CUDA_HOST_TEST_H
#define CUDA_HOST_TEST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The call of CUDA that is `calls` calls away fails, once; 0: none. */
void cuda_host_fail_after(long calls);

typedef enum cuda_host_device_state {
    CUDA_HOST_READY,
    CUDA_HOST_NONE,
    CUDA_HOST_OLD_DRIVER,
    CUDA_HOST_OTHER_DEVICE, /* than the kernels are for */
    CUDA_HOST_BROKEN,       /* each call fails */
    CUDA_HOST_ALONE         /* ready, but it shares no memory with the host */
} cuda_host_device_state;
void cuda_host_device(cuda_host_device_state state);

typedef struct cuda_host_counts {
    long calls;    /* that may fail */
    long launches; /* of kernels, by themselves or into a graph */
    long replays;  /* of graphs */
    long copied;   /* bytes, between host and device */
    long live;     /* memory, streams, graphs and handles that are not freed yet */
    long wrong;    /* misuse of CUDA, told on stderr */
} cuda_host_counts;
cuda_host_counts cuda_host_count(void);

/* Makes one of the two devices the thread's; which one it was. */
int cuda_host_use(int device);

/* Memory that the host and the device share. */
void *cuda_host_managed(size_t bytes);
void cuda_host_managed_free(void *at);
int cuda_host_is_shared(const void *at);

#ifdef __cplusplus
}
#endif

#endif
