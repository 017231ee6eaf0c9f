using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Libfabric;

/// <summary>Options of the <see cref="LibfabricProvider"/>, which select the fabric to open and how to open it.</summary>
public sealed class LibfabricOptions
{
    /// <summary>
    /// libfabric's name of the fabric provider, such as <c>tcp;ofi_rxm</c>, <c>shm</c>, <c>verbs;ofi_rxm</c>, <c>efa</c>
    /// (<c>fi_info -l</c> lists them). Default: none, which selects the best provider that libfabric finds.
    /// </summary>
    public string? Provider { get; set; }

    /// <summary>
    /// The domain, which is a device or network interface such as <c>mlx5_0</c>, <c>eth0</c>, <c>lo</c>. Default: none,
    /// which allows any domain.
    /// </summary>
    public string? Domain { get; set; }

    /// <summary>
    /// The local IP address or host name that the endpoint binds to. Providers that don't address by IP, such as
    /// <c>shm</c>, ignore it. Default: none, which lets libfabric choose one.
    /// </summary>
    public string? Node { get; set; }

    /// <summary>
    /// The IP address or host name that the endpoint's address gives to peers. Set it if they reach this machine by
    /// another address than the one that the endpoint binds to, for example through a forwarded port. Providers that
    /// don't address by IP, such as <c>shm</c>, ignore it. Default: none, which means the address that the endpoint binds
    /// to; if that is a wildcard, the address of the interface that <see cref="Domain"/> names, or of the default route.
    /// </summary>
    public string? AdvertisedNode { get; set; }

    /// <summary>
    /// The local port (0 to 65535) or service name that the endpoint binds to, used with <see cref="Node"/>. Default:
    /// none, which selects a free port.
    /// </summary>
    public string? Service { get; set; }

    /// <summary>
    /// The widest access that a pool on this provider may grant, whatever the pool's own option <c>Access</c> says.
    /// Default: Local, RemoteRead and RemoteWrite.
    /// </summary>
    [OptionChoice(typeof(RmaAccess))]
    public RmaAccess Access { get; set; } = RmaAccess.Local | RmaAccess.RemoteRead | RmaAccess.RemoteWrite;

    /// <summary>
    /// Whether libfabric keeps registrations of its own (its MR cache). The pool caches registrations itself, and
    /// libfabric's cache can leave closed memory reachable, so the default is false: FI_MR_CACHE_MAX_COUNT=0 is set
    /// before libfabric is first used in the process, unless the environment sets it.
    /// </summary>
    public bool MrCache { get; set; }

    /// <summary>
    /// Whether FI_MR_VIRT_ADDR is offered to providers that work with virtual addresses and with offsets; both work here.
    /// Default: true.
    /// </summary>
    public bool VirtualAddressing { get; set; } = true;

    /// <summary>The file of the libfabric library. Default: none, which selects the system's <c>libfabric.so.1</c>.</summary>
    public string? LibraryPath { get; set; }

    /// <summary>
    /// libfabric's own settings (<c>fi_info -e</c> lists them), by name, such as <c>FI_UNIVERSE_SIZE</c>. They are set
    /// in the process's environment before libfabric is first used; variables that are already set there keep their
    /// values.
    /// </summary>
    public IDictionary<string, string> Settings { get; private set; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Options of the endpoint.</summary>
    [ValidateObjectMembers(typeof(LibfabricEndpointOptionsRanges))]
    public LibfabricEndpointOptions Endpoint { get; private set; } = new();

    /// <summary>Returns a copy that shares nothing with these options.</summary>
    internal LibfabricOptions Copy()
    {
        var copy = (LibfabricOptions)MemberwiseClone();
        copy.Settings = new Dictionary<string, string>(Settings, StringComparer.Ordinal);
        copy.Endpoint = (LibfabricEndpointOptions)Endpoint.Copy();
        return copy;
    }
}
