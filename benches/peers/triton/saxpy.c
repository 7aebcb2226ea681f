/* A backend of NVIDIA Triton that computes what the service's `saxpy` does: output = 2 x + y, FP32.
 *
 * Of Triton's C interface for backends (version 1) only what it uses is declared here; the server has the rest.
 * Build: cc -O3 -march=native -shared -fPIC saxpy.c -o libtriton_saxpy.so */
#include <stdint.h>
#include <stddef.h>

typedef struct TRITONSERVER_Error TRITONSERVER_Error;
typedef struct TRITONBACKEND_Input TRITONBACKEND_Input;
typedef struct TRITONBACKEND_ModelInstance TRITONBACKEND_ModelInstance;
typedef struct TRITONBACKEND_Output TRITONBACKEND_Output;
typedef struct TRITONBACKEND_Request TRITONBACKEND_Request;
typedef struct TRITONBACKEND_Response TRITONBACKEND_Response;

enum { FP32 = 11, CPU = 0, INVALID_ARGUMENT = 4, FINAL = 1, ALL = 1 };

TRITONSERVER_Error *TRITONSERVER_ErrorNew(int code, const char *text);
TRITONSERVER_Error *TRITONBACKEND_RequestInput(TRITONBACKEND_Request *, const char *name, TRITONBACKEND_Input **);
TRITONSERVER_Error *TRITONBACKEND_InputProperties(
    TRITONBACKEND_Input *, const char **name, int *type, const int64_t **shape, uint32_t *dimensions, uint64_t *bytes,
    uint32_t *buffers);
TRITONSERVER_Error *TRITONBACKEND_InputBuffer(
    TRITONBACKEND_Input *, uint32_t index, const void **buffer, uint64_t *bytes, int *memory, int64_t *memory_id);
TRITONSERVER_Error *TRITONBACKEND_ResponseNew(TRITONBACKEND_Response **, TRITONBACKEND_Request *);
TRITONSERVER_Error *TRITONBACKEND_ResponseOutput(
    TRITONBACKEND_Response *, TRITONBACKEND_Output **, const char *name, int type, const int64_t *shape,
    uint32_t dimensions);
TRITONSERVER_Error *TRITONBACKEND_OutputBuffer(
    TRITONBACKEND_Output *, void **buffer, uint64_t bytes, int *memory, int64_t *memory_id);
TRITONSERVER_Error *TRITONBACKEND_ResponseSend(TRITONBACKEND_Response *, uint32_t flags, TRITONSERVER_Error *);
TRITONSERVER_Error *TRITONBACKEND_RequestRelease(TRITONBACKEND_Request *, uint32_t flags);

/* An input that is one piece of host memory. */
static TRITONSERVER_Error *input(TRITONBACKEND_Request *request, const char *name, const float **data, int64_t *length)
{
    TRITONBACKEND_Input *input;
    const int64_t *shape;
    uint32_t dimensions, buffers;
    uint64_t bytes;
    int type, memory = CPU;
    int64_t memory_id = 0;
    TRITONSERVER_Error *error = TRITONBACKEND_RequestInput(request, name, &input);
    if (!error)
        error = TRITONBACKEND_InputProperties(input, NULL, &type, &shape, &dimensions, &bytes, &buffers);
    if (!error && (buffers != 1 || dimensions != 1))
        error = TRITONSERVER_ErrorNew(INVALID_ARGUMENT, "an input is no vector in one piece");
    if (!error)
        error = TRITONBACKEND_InputBuffer(input, 0, (const void **)data, &bytes, &memory, &memory_id);
    if (!error)
        *length = shape[0];
    return error;
}

static TRITONSERVER_Error *answer(TRITONBACKEND_Request *request, TRITONBACKEND_Response *response)
{
    const float *x, *y;
    float *sum;
    int64_t length, other, memory_id = 0;
    int memory = CPU;
    TRITONBACKEND_Output *output;
    TRITONSERVER_Error *error = input(request, "x", &x, &length);
    if (!error)
        error = input(request, "y", &y, &other);
    if (!error && length != other)
        error = TRITONSERVER_ErrorNew(INVALID_ARGUMENT, "x and y are not equally long");
    if (!error)
        error = TRITONBACKEND_ResponseOutput(response, &output, "output", FP32, &length, 1);
    if (!error)
        error = TRITONBACKEND_OutputBuffer(output, (void **)&sum, length * sizeof *sum, &memory, &memory_id);
    if (!error)
        for (int64_t i = 0; i < length; i++)
            sum[i] = 2.0f * x[i] + y[i];
    return error;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance *instance, TRITONBACKEND_Request **requests, const uint32_t count)
{
    (void)instance;
    for (uint32_t i = 0; i < count; i++) {
        TRITONBACKEND_Response *response;
        TRITONSERVER_Error *error = TRITONBACKEND_ResponseNew(&response, requests[i]);
        if (!error)
            TRITONBACKEND_ResponseSend(response, FINAL, answer(requests[i], response));
        TRITONBACKEND_RequestRelease(requests[i], ALL);
    }
    return NULL;
}
