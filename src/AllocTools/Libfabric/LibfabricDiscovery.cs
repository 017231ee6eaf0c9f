using System.Net;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Finds the fabric interface that the options ask for (fi_getinfo(3)).</summary>
/// <remarks>
/// The hints state what this library supports; the result decides. fi_getinfo can take more than a second, so it is
/// called only once if it succeeds: with delivery-complete if that is requested, and without it only if there is no
/// such interface.
/// </remarks>
internal static unsafe class LibfabricDiscovery
{
    private const ulong LocalCaps = FiCaps.FI_MSG | FiCaps.FI_RMA | FiCaps.FI_SEND | FiCaps.FI_RECV | FiCaps.FI_READ | FiCaps.FI_WRITE;

    private const int KnownMrMode = FiMrMode.FI_MR_LOCAL | FiMrMode.FI_MR_RAW | FiMrMode.FI_MR_VIRT_ADDR | FiMrMode.FI_MR_ALLOCATED
        | FiMrMode.FI_MR_PROV_KEY | FiMrMode.FI_MR_ENDPOINT;

    private const ulong KnownMode = FiMode.FI_CONTEXT | FiMode.FI_CONTEXT2;

    public static InfoHandle Find(LibfabricLibrary library, LibfabricOptions options)
    {
        bool wantsDelivery = options.Endpoint.CompletionLevel == LibfabricCompletionLevel.Delivery;
        bool byAddress = IsByAddress(options);
        int status = 0;
        foreach (ulong level in wantsDelivery ? [FiFlags.FI_DELIVERY_COMPLETE, 0UL] : (ReadOnlySpan<ulong>)[0])
        {
            // Delivery-complete is more important than receives that report their sender.
            foreach (ulong caps in (ReadOnlySpan<ulong>)[FiCaps.FI_SOURCE, 0])
            {
                if (TryFind(library, options, byAddress, level, caps, out status) is { } found)
                    return TaggedNotifications.AreNeeded(found.Info, found.ProviderName) ? WithTags(found) : found;

                InfoHandle WithTags(InfoHandle found)
                {
                    InfoHandle? tagged = TryFind(library, options, byAddress, level, caps | FiCaps.FI_TAGGED, out _);
                    if (tagged is not null)
                        found.Dispose();
                    return tagged ?? found;
                }

                // Any other error is unrelated to the request.
                if (status != -FiErrno.FI_ENODATA)
                    throw NothingFound(library, options, status);
            }
        }
        throw NothingFound(library, options, status);
    }

    /// <summary>Whether the options select an interface by its address. shm uses a node as its own name instead.</summary>
    private static bool IsByAddress(LibfabricOptions options) => !string.IsNullOrEmpty(options.Node) && !IsSharedMemory(options.Provider);

    private static InfoHandle? TryFind(LibfabricLibrary library, LibfabricOptions options, bool byAddress, ulong operationFlags, ulong caps, out int status)
    {
        using InfoHandle hints = MakeHints(library, options, operationFlags);
        hints.Info->caps |= caps;
        // The name that shm chooses itself contains the process number; if a killed process has left a file of that
        // name, a later process with the same number can't open it (FI_EBUSY).
        string? node = IsSharedMemory(options.Provider) ? SharedMemoryFile.NewName() : byAddress ? NodeOf(options) : null;
        status = library.GetInfo(
            FiVersion.Api,
            node,
            byAddress && options.Service is { Length: > 0 } ? options.Service : null,
            node is null ? 0 : FiCaps.FI_SOURCE,
            hints.Info,
            out fi_info* list);
        if (status != 0)
            return null;
        try
        {
            for (fi_info* entry = list; entry != null; entry = entry->next)
            {
                if (FindReasonAgainst(entry, options, byAddress) is not null)
                    continue;
                InfoHandle copy = InfoHandle.Copy(library, entry);
                KeepWildcard(copy.Info, node);
                return copy;
            }
            throw new RmaProviderException(
                $"libfabric's provider '{InfoHandle.Text(list->fabric_attr->prov_name)}' can't be used: {FindReasonAgainst(list, options, byAddress)}.",
                FiErrno.FI_ENODATA,
                nameof(FiErrno.FI_ENODATA));
        }
        finally
        {
            library.FreeInfo(list);
        }
    }

    /// <summary>Returns the address to bind to. For a wildcard with an interface's name, that is the interface's address.</summary>
    /// <remarks>With a wildcard, the providers of libfabric 1.17 offer no interface's domain, or only the loopback's.</remarks>
    private static string? NodeOf(LibfabricOptions options) =>
        IPAddress.TryParse(options.Node, out IPAddress? node) && SocketAddressBytes.IsWildcard(node) && AdvertisedAddress.OfInterface(options.Domain, node) is { } address
            ? address.ToString()
            : options.Node;

    /// <summary>
    /// Binds to the requested wildcard if libfabric replaces it by the loopback address, at which no other machine can
    /// reach the endpoint: the layer ofi_rxm of 1.17 does that if a port is given, but not otherwise.
    /// </summary>
    private static void KeepWildcard(fi_info* info, string? node)
    {
        Span<byte> source = new(info->src_addr, (int)info->src_addrlen);
        if (IPAddress.TryParse(node, out IPAddress? wildcard) && SocketAddressBytes.IsWildcard(wildcard)
            && SocketAddressBytes.TryRead(info->addr_format, source, out IPEndPoint? found)
            && found.AddressFamily == wildcard.AddressFamily && IPAddress.IsLoopback(found.Address))
        {
            SocketAddressBytes.WithHost(source, wildcard).CopyTo(source);
        }
    }

    internal static InfoHandle MakeHints(LibfabricLibrary library, LibfabricOptions options, ulong operationFlags)
    {
        InfoHandle hints = InfoHandle.Allocate(library);
        fi_info* info = hints.Info;
        info->caps = LocalCaps;
        if ((options.Access & RmaAccess.RemoteRead) != 0)
            info->caps |= FiCaps.FI_REMOTE_READ;
        if ((options.Access & RmaAccess.RemoteWrite) != 0)
            info->caps |= FiCaps.FI_REMOTE_WRITE;
        info->mode = KnownMode;
        info->ep_attr->type = fi_ep_type.FI_EP_RDM;
        info->tx_attr->op_flags = operationFlags;
        info->domain_attr->threading = fi_threading.FI_THREAD_SAFE;
        info->domain_attr->mr_mode = options.VirtualAddressing ? KnownMrMode : KnownMrMode & ~FiMrMode.FI_MR_VIRT_ADDR;
        info->domain_attr->name = InfoHandle.AllocateText(options.Domain);
        info->fabric_attr->prov_name = InfoHandle.AllocateText(options.Provider);
        return hints;
    }

    /// <summary>Returns the reason why this library can't use an interface, or null if it can.</summary>
    internal static string? FindReasonAgainst(fi_info* entry, LibfabricOptions options, bool byAddress)
    {
        // tcp;ofi_rxm of 1.17 returns other domains than the requested one.
        string domain = InfoHandle.Text(entry->domain_attr->name);
        if (!string.IsNullOrEmpty(options.Domain) && domain != options.Domain)
            return $"it has the domain '{domain}' {(byAddress ? $"at Node '{options.Node}'" : "here")}, but Domain is '{options.Domain}'";
        int unknownMrMode = entry->domain_attr->mr_mode & ~KnownMrMode;
        if (unknownMrMode != 0)
            return $"it requires the registration mode bits 0x{unknownMrMode:X} (FI_MR_HMEM, FI_MR_RMA_EVENT and the like), which are not supported";
        ulong unknownMode = entry->mode & ~KnownMode;
        if (unknownMode != 0)
            return $"it requires the mode bits 0x{unknownMode:X}, which are not supported";
        if (byAddress && entry->addr_format == fi_addr_format.FI_ADDR_STR)
            return $"it has no IP addresses, but Node is '{options.Node}'";
        return null;
    }

    public static bool IsSharedMemory(string? provider) =>
        provider is not null && (provider == "shm" || provider.StartsWith("shm;", StringComparison.Ordinal));

    private static RmaProviderException NothingFound(LibfabricLibrary library, LibfabricOptions options, int status)
    {
        string wanted = string.Join(
            ", ",
            new[] { ("Provider", options.Provider), ("Domain", options.Domain), ("Node", options.Node), ("Service", options.Service) }
                .Where(o => !string.IsNullOrEmpty(o.Item2))
                .Select(o => $"{o.Item1} '{o.Item2}'"));
        string memoryLock = options.Provider?.Contains("verbs", StringComparison.Ordinal) == true && !MemoryLockLimit.IsExempt && MemoryLockLimit.Bytes is not null
            ? $" {MemoryLockLimit.Describe()}; with a low limit, libfabric does not offer verbs. {MemoryLockLimit.HowToRaise()}."
            : "";
        string sharedMemory = OperatingSystem.IsLinux() && IsSharedMemory(options.Provider) ? SharedMemoryFile.ExplainAbsence() : "";
        // Some versions return other domains than the requested one, others return nothing.
        if (status == -FiErrno.FI_ENODATA && !string.IsNullOrEmpty(options.Domain) && ListDomains(library, options) is { Count: > 0 } domains)
        {
            return new RmaProviderException(
                $"libfabric {library.Version} offers nothing for {wanted}: fi_getinfo returned {FiErrno.NameOf(status)} ({library.StrError(status)}). "
                + $"It has that provider, but {(domains.Contains(options.Domain) ? "that domain does not fit the other options" : "not that domain")}: Domain is '{options.Domain}', and the domains are {string.Join(", ", domains)}.",
                Math.Abs(status),
                FiErrno.NameOf(status));
        }
        if (status == -FiErrno.FI_ENODATA && IsByAddress(options) && IsThere(library, options))
        {
            string service = string.IsNullOrEmpty(options.Service) ? "" : ", and Service the number or name of a port";
            return new RmaProviderException(
                $"libfabric {library.Version} offers nothing for {wanted}: fi_getinfo returned {FiErrno.NameOf(status)} ({library.StrError(status)}). "
                + $"It has that provider, but not there: Node must be an address of this machine or a host name that resolves to one{service}.",
                Math.Abs(status),
                FiErrno.NameOf(status));
        }
        return new RmaProviderException(
            $"libfabric {library.Version} offers nothing for {(wanted.Length == 0 ? "any provider" : wanted)}: fi_getinfo returned {FiErrno.NameOf(status)} ({library.StrError(status)}). "
            + $"It has these providers for reliable datagrams with RMA: {string.Join(", ", ListProviders(library))}.{Filter()}{memoryLock}{sharedMemory}",
            Math.Abs(status),
            FiErrno.NameOf(status));
    }

    /// <summary>Describes a restriction of libfabric's providers by the environment.</summary>
    private static string Filter()
    {
        const string Name = "FI_PROVIDER";
        return NativeEnvironment.Get(Name) is { Length: > 0 } value
            ? $" The environment sets {Name}={value}, which leaves libfabric only the providers that it allows; unset it, or add the one that is needed."
            : "";
    }

    /// <summary>Whether the provider offers an interface at another address.</summary>
    private static bool IsThere(LibfabricLibrary library, LibfabricOptions options)
    {
        try
        {
            using InfoHandle? found = TryFind(library, options, byAddress: false, 0, 0, out _);
            return found is not null;
        }
        catch (RmaProviderException)
        {
            // There is one, but it can't be used for another reason.
            return false;
        }
    }

    private static SortedSet<string> ListProviders(LibfabricLibrary library)
    {
        SortedSet<string> names = List(library, new LibfabricOptions(), ofDomains: false);
        if (names.Count == 0)
            names.Add("none");
        return names;
    }

    /// <summary>Lists the domains of a provider, regardless of the other options.</summary>
    private static SortedSet<string> ListDomains(LibfabricLibrary library, LibfabricOptions options) =>
        List(library, new LibfabricOptions { Provider = options.Provider }, ofDomains: true);

    private static SortedSet<string> List(LibfabricLibrary library, LibfabricOptions options, bool ofDomains)
    {
        using InfoHandle hints = MakeHints(library, options, 0);
        SortedSet<string> names = new(StringComparer.Ordinal);
        if (library.GetInfo(FiVersion.Api, null, null, 0, hints.Info, out fi_info* list) == 0)
        {
            for (fi_info* entry = list; entry != null; entry = entry->next)
                names.Add(InfoHandle.Text(ofDomains ? entry->domain_attr->name : entry->fabric_attr->prov_name));
            library.FreeInfo(list);
        }
        return names;
    }
}
