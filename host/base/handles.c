#include "base/handles.h"

#include <stdarg.h>

static void on_closed(uv_handle_t *handle)
{
    struct handles *handles = handle->data;

    if (--handles->closing == 0)
        handles->closed(handles->owner);
}

void handles_close(struct handles *handles, void (*closed)(void *owner), void *owner, ...)
{
    void *handle;
    va_list list;

    handles->closed = closed;
    handles->owner = owner;
    va_start(list, owner);
    while ((handle = va_arg(list, void *))) {
        ((uv_handle_t *)handle)->data = handles;
        handles->closing++;
        uv_close(handle, on_closed);
    }
    va_end(list);
}
