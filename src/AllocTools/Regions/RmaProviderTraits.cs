using AllocTools.Endpoints;

namespace AllocTools.Regions;

/// <summary>The requirements and guarantees of an open provider, so that the pool does not need to know any provider by name.</summary>
public sealed record RmaProviderTraits
{
    /// <summary>The transport in force, such as <c>tcp;ofi_rxm</c>, <c>shm</c> or <c>host</c>: the value of the tag <c>rma.provider</c>.</summary>
    public required string ProviderName { get; init; }

    /// <summary>How a peer addresses a byte.</summary>
    public RmaAddressing Addressing { get; init; }

    /// <summary>Whether the provider chooses the keys (FI_MR_PROV_KEY); otherwise the context does.</summary>
    public bool ProviderSelectsKey { get; init; }

    /// <summary>The length of a key: 1 to 8 bytes, up to 1,024 if <see cref="RawKeys"/> is true, or 0 if nothing can be exported.</summary>
    public int KeySize { get; init; } = 8;

    /// <summary>Whether keys are raw bytes that the initiator must map before use (FI_MR_RAW, UCX).</summary>
    public bool RawKeys { get; init; }

    /// <summary>Whether operations need the local descriptor (FI_MR_LOCAL).</summary>
    public bool LocalDescriptorRequired { get; init; }

    /// <summary>Whether pages must be backed by memory before they are registered (FI_MR_ALLOCATED).</summary>
    public bool PagesBackedBeforeRegistering { get; init; }

    /// <summary>The required alignment of a registration's start, in bytes; a power of two.</summary>
    public int Alignment { get; init; } = 1;

    /// <summary>
    /// The optimal number of registrations for the transport; 0 if it is not known. It is a recommendation, not a limit
    /// (mr_cnt).
    /// </summary>
    public long OptimalRegistrations { get; init; }

    /// <summary>Whether peers can access registered memory.</summary>
    public bool RemoteAccess { get; init; }

    /// <summary>
    /// Whether the transport refuses access by a peer without permission, with a wrong key, or beyond the end. If this
    /// is false, any peer that can reach this process can read and write its memory.
    /// </summary>
    public bool RemoteAccessEnforced { get; init; }

    /// <summary>Whether registrations belong to one endpoint (FI_MR_ENDPOINT), so that the context has a single one.</summary>
    public bool RegistrationsBoundToEndpoint { get; init; }

    /// <summary>
    /// Whether a completed write means that its bytes are in the peer's memory (FI_DELIVERY_COMPLETE), as requested by
    /// the options.
    /// </summary>
    public bool DeliveryComplete { get; init; }

    /// <summary>
    /// Whether the transport completes a send before its bytes are in the peer's memory, whatever the value of
    /// <see cref="DeliveryComplete"/> (tcp;ofi_rxm). If delivery is requested, the endpoint reads from the peer after
    /// each send, and completes the send when the peer has answered. That needs a peer whose address supports it, as
    /// those of this library do; a completed send to any other peer only means that its buffer may be reused.
    /// </summary>
    public bool SendsAreConfirmed { get; init; }

    /// <summary>
    /// Whether unreceived messages accumulate in the peer's memory without a limit of the transport (tcp;ofi_rxm,
    /// sockets). The endpoint's option MaxUnreceivedMessages limits them for peers whose address supports it.
    /// </summary>
    public bool UnreceivedMessagesPileUp { get; init; }

    /// <summary>Whether a message that is sent after a write arrives after the write's bytes (FI_ORDER_SAW).</summary>
    public bool SendAfterWriteOrdered { get; init; }

    /// <summary>Whether a receive reports which peer has sent its message (FI_SOURCE).</summary>
    public bool SendersAreKnown { get; init; }

    /// <summary>
    /// The number of bytes in the notification of a write (<see cref="IRmaEndpoint.ReadNotificationsAsync"/>): 8 or 4,
    /// or 0 if writes don't support notifications.
    /// </summary>
    public int NotificationSize { get; init; }

    /// <summary>The longest single message or RMA operation, in bytes. Endpoints split longer RMA operations.</summary>
    public long MaxMessageSize { get; init; } = long.MaxValue;

    /// <summary>The NUMA node of the device, if the system reports it: memory of that node is nearest to it. Null: unknown.</summary>
    public int? NumaNode { get; init; }

    /// <summary>Whether registered memory is locked, and counts against RLIMIT_MEMLOCK if that limit applies to the process.</summary>
    public bool LocksPages { get; init; }

    /// <summary>The version of the transport's library; null if it has none.</summary>
    public Version? LibraryVersion { get; init; }

    /// <summary>The memory that the transport pins for itself in addition to registered memory, in bytes.</summary>
    public long TransportPinnedBytes { get; init; }
}
