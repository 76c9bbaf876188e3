#include "base/guard.h"

#include <sys/prctl.h>

#if defined(__SANITIZE_ADDRESS__)
#define MAY_CLOSE false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MAY_CLOSE false
#endif
#endif
#ifndef MAY_CLOSE
#define MAY_CLOSE true
#endif

void guard_set(bool is_closed)
{
    prctl(PR_SET_DUMPABLE, is_closed && MAY_CLOSE ? 0 : 1);
}
