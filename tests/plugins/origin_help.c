/* The library that origin.c brings along. It has no SONAME, as many of their own have none. */
const char *origin_help(void);

const char *origin_help(void)
{
    return "helped";
}
