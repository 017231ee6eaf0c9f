namespace AllocTools.Ucx;

/// <summary>What becomes of operations whose peer is gone (ucp_err_handling_mode_t).</summary>
public enum UcxErrorHandling
{
    /// <summary>
    /// The peer is reported as lost, and operations with it fail. UCX then uses only transports that notice it: TCP and RDMA devices, and
    /// shared memory where Transports or UCX_TLS asks for it by name, such as <c>shm</c>: it notices within the KeepaliveInterval that a
    /// process has ended. (Where it is named, UCX_SYSV_ERROR_HANDLING and UCX_POSIX_ERROR_HANDLING are set to <c>y</c>, unless they are set.)
    /// </summary>
    Peer = 0,

    /// <summary>
    /// Nothing looks after peers: operations with one that is gone time out, or fail by its broken connection (TCP). All transports can be
    /// used, shared memory among them, which has the shortest delays between processes of one machine.
    /// </summary>
    None = 1,
}
