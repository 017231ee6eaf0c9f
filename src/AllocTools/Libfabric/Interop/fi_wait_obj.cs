namespace AllocTools.Libfabric.Interop;

/// <summary>Wait objects. fi_cq(3), fi_poll(3).</summary>
internal enum fi_wait_obj
{
    FI_WAIT_NONE = 0,
    FI_WAIT_UNSPEC = 1,
    FI_WAIT_SET = 2,
    FI_WAIT_FD = 3,
    FI_WAIT_MUTEX_COND = 4,
    FI_WAIT_YIELD = 5,
    FI_WAIT_POLLFD = 6,
}
