namespace AllocTools.Ucx;

/// <summary>The handling of operations whose peer is gone (ucp_err_handling_mode_t).</summary>
public enum UcxErrorHandling
{
    /// <summary>
    /// The peer is reported as lost, and operations with it fail. UCX then uses only transports that detect this: TCP
    /// and RDMA devices, and shared memory if Transports or UCX_TLS names it, such as <c>shm</c>. Shared memory detects
    /// within the KeepaliveInterval that a process has ended. (If it is named, UCX_SYSV_ERROR_HANDLING and
    /// UCX_POSIX_ERROR_HANDLING are set to <c>y</c>, unless they are already set.)
    /// </summary>
    Peer = 0,

    /// <summary>
    /// Peers are not monitored: operations with a lost peer time out, or fail because its connection is broken (TCP).
    /// All transports can be used, including shared memory, which has the shortest delays between processes of one
    /// machine.
    /// </summary>
    None = 1,
}
