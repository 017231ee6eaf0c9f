using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;

namespace AllocTools.Libfabric;

/// <summary>Determines a provider's requirements and guarantees from the interface that it returned.</summary>
internal static unsafe class LibfabricTraits
{
    private const long RxmOverVerbsPinnedBytes = 16L << 20;

    public static RmaProviderTraits Of(InfoHandle handle, Version library)
    {
        fi_info* info = handle.Info;
        fi_domain_attr* domain = info->domain_attr;
        string provider = handle.ProviderName;
        bool virtualAddress = (domain->mr_mode & FiMrMode.FI_MR_VIRT_ADDR) != 0;
        bool isShm = provider == "shm";
        return new RmaProviderTraits
        {
            ProviderName = provider,
            Addressing = virtualAddress ? RmaAddressing.VirtualAddress : RmaAddressing.Offset,
            ProviderSelectsKey = (domain->mr_mode & FiMrMode.FI_MR_PROV_KEY) != 0,
            KeySize = (int)Math.Min(domain->mr_key_size, RemoteMemory.MaxKeyLength),
            RawKeys = (domain->mr_mode & FiMrMode.FI_MR_RAW) != 0,
            LocalDescriptorRequired = (domain->mr_mode & FiMrMode.FI_MR_LOCAL) != 0,
            PagesBackedBeforeRegistering = (domain->mr_mode & FiMrMode.FI_MR_ALLOCATED) != 0,
            OptimalRegistrations = (long)Math.Min(domain->mr_cnt, long.MaxValue),
            RemoteAccess = (info->caps & (FiCaps.FI_REMOTE_READ | FiCaps.FI_REMOTE_WRITE)) != 0,
            // No version of shm checks each operation: 1.17 checks nothing with virtual addresses, 2.6 and later not on the fast path.
            RemoteAccessEnforced = !LibfabricDiscovery.IsSharedMemory(provider),
            RegistrationsBoundToEndpoint = (domain->mr_mode & FiMrMode.FI_MR_ENDPOINT) != 0,
            DeliveryComplete = (info->tx_attr->op_flags & FiFlags.FI_DELIVERY_COMPLETE) != 0,
            // When a verbs device reports bytes as sent, they are in the peer's memory.
            SendsAreConfirmed = IsRxmOverSockets(provider) && (info->tx_attr->op_flags & FiFlags.FI_DELIVERY_COMPLETE) != 0,
            UnreceivedMessagesPileUp = IsRxmOverSockets(provider) || provider == "sockets",
            SendAfterWriteOrdered = (info->tx_attr->msg_order & FiOrder.FI_ORDER_SAW) != 0,
            // shm and ofi_rxd of 1.17 report peers that aren't inserted with the number of one that is.
            SendersAreKnown = (info->caps & FiCaps.FI_SOURCE) != 0 && !isShm && !provider.EndsWith(";ofi_rxd", StringComparison.Ordinal),
            NotificationSize = NotificationSizeOf(info, provider),
            MaxMessageSize = (long)Math.Min(info->ep_attr->max_msg_size, long.MaxValue),
            NumaNode = FabricDevice.NumaNodeOf(info),
            // Memory that must be backed before it is registered is pinned by the registration.
            LocksPages = (domain->mr_mode & FiMrMode.FI_MR_ALLOCATED) != 0,
            LibraryVersion = library,
            TransportPinnedBytes = provider.StartsWith("verbs", StringComparison.Ordinal) && provider.Contains("ofi_rxm", StringComparison.Ordinal)
                ? RxmOverVerbsPinnedBytes
                : 0,
        };
    }

    private static int NotificationSizeOf(fi_info* info, string provider)
    {
        if (!TaggedNotifications.AreNeeded(info, provider))
            return info->domain_attr->cq_data_size < sizeof(ulong) ? sizeof(uint) : sizeof(ulong);
        // A message must not overtake the write.
        bool isOrdered = (info->tx_attr->op_flags & FiFlags.FI_DELIVERY_COMPLETE) != 0 || (info->tx_attr->msg_order & FiOrder.FI_ORDER_SAW) != 0;
        return (info->caps & FiCaps.FI_TAGGED) != 0 && isOrdered ? sizeof(ulong) : 0;
    }

    internal static bool IsRxmOverSockets(string provider) =>
        provider.StartsWith("tcp", StringComparison.Ordinal) && provider.Contains("ofi_rxm", StringComparison.Ordinal);
}
