using AllocTools.Endpoints;

namespace AllocTools.Regions;

/// <summary>What an opened provider demands and promises, so that the pool needs to know no provider by name.</summary>
public sealed record RmaProviderTraits
{
    /// <summary>The transport in force, such as <c>tcp;ofi_rxm</c>, <c>shm</c> or <c>host</c>: the value of the tag <c>rma.provider</c>.</summary>
    public required string ProviderName { get; init; }

    /// <summary>How a peer names a byte.</summary>
    public RmaAddressing Addressing { get; init; }

    /// <summary>The provider picks the keys (FI_MR_PROV_KEY); otherwise the context does.</summary>
    public bool ProviderSelectsKey { get; init; }

    /// <summary>How wide a key is: 1 to 8 bytes, up to 1,024 where <see cref="RawKeys"/> holds, 0 where nothing can be exported.</summary>
    public int KeySize { get; init; } = 8;

    /// <summary>Keys are raw bytes that the initiator must map before use (FI_MR_RAW, UCX).</summary>
    public bool RawKeys { get; init; }

    /// <summary>Operations need the local descriptor (FI_MR_LOCAL).</summary>
    public bool LocalDescriptorRequired { get; init; }

    /// <summary>Pages must be backed by memory before they are registered (FI_MR_ALLOCATED).</summary>
    public bool PagesBackedBeforeRegistering { get; init; }

    /// <summary>What the start of a registration must be aligned to, in bytes; a power of two.</summary>
    public int Alignment { get; init; } = 1;

    /// <summary>How many registrations the transport serves best; 0 where it doesn't say. Advice, not a limit (mr_cnt).</summary>
    public long OptimalRegistrations { get; init; }

    /// <summary>Peers can reach registered memory.</summary>
    public bool RemoteAccess { get; init; }

    /// <summary>
    /// The transport refuses a peer that has no right, a wrong key, or goes past the end. Where this is false, any peer
    /// that can reach this process can read and write its memory.
    /// </summary>
    public bool RemoteAccessEnforced { get; init; }

    /// <summary>Registrations belong to one endpoint (FI_MR_ENDPOINT), so the context has a single one.</summary>
    public bool RegistrationsBoundToEndpoint { get; init; }

    /// <summary>A completed write means that its bytes are in the peer's memory (FI_DELIVERY_COMPLETE), as the options asked.</summary>
    public bool DeliveryComplete { get; init; }

    /// <summary>
    /// The transport ends a send before its bytes are in the peer's memory, whatever <see cref="DeliveryComplete"/> says
    /// (tcp;ofi_rxm). Where delivery is asked for, the endpoint reads the peer after each send, and ends the send when the
    /// peer has answered. That needs a peer whose address offers it, as those of this library do; a send to any other says
    /// only that its buffer may be used again.
    /// </summary>
    public bool SendsAreConfirmed { get; init; }

    /// <summary>
    /// Messages that nobody receives pile up in the peer's memory, without a limit of the transport's (tcp;ofi_rxm,
    /// sockets). The endpoint's option MaxUnreceivedMessages limits them with peers whose address offers it.
    /// </summary>
    public bool UnreceivedMessagesPileUp { get; init; }

    /// <summary>A message that is sent after a write arrives after the write's bytes (FI_ORDER_SAW).</summary>
    public bool SendAfterWriteOrdered { get; init; }

    /// <summary>A receive says which peer has sent its message (FI_SOURCE).</summary>
    public bool SendersAreKnown { get; init; }

    /// <summary>How many bytes of a number a write can bring its target (<see cref="IRmaEndpoint.ReadNotificationsAsync"/>): 8 or 4; 0 where it can't.</summary>
    public int NotificationSize { get; init; }

    /// <summary>The longest single message or RMA operation, in bytes. Endpoints split longer RMA operations.</summary>
    public long MaxMessageSize { get; init; } = long.MaxValue;

    /// <summary>The NUMA node of the device, where the system tells it: memory of that node is nearest to it. Null: unknown.</summary>
    public int? NumaNode { get; init; }

    /// <summary>What is registered is locked, and counts against RLIMIT_MEMLOCK where that binds the process.</summary>
    public bool LocksPages { get; init; }

    /// <summary>The version of the library that the transport comes with; null where it comes with none.</summary>
    public Version? LibraryVersion { get; init; }

    /// <summary>What the transport pins for itself besides what is registered, in bytes.</summary>
    public long TransportPinnedBytes { get; init; }
}
