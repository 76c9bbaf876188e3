/* A shared object, but no plugin: it has no entry symbol. */
__attribute__((visibility("default"))) int something_else(void);

int something_else(void)
{
    return 0;
}
