using AllocTools.Endpoints;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Ucx;

/// <summary>Options of the <see cref="UcxProvider"/>.</summary>
public sealed class UcxOptions
{
    /// <summary>
    /// The transports that UCX may use, separated by commas, as in UCX_TLS: <c>tcp</c>, <c>shm,tcp</c>, <c>rc</c>
    /// (<c>ucx_info -d</c> lists them). If the environment sets UCX_TLS, that value is used. Default: none, which
    /// allows all transports that UCX finds.
    /// </summary>
    public string? Transports { get; set; }

    /// <summary>
    /// The network devices that UCX may use, separated by commas, as in UCX_NET_DEVICES: <c>eth0</c>, <c>mlx5_0:1</c>.
    /// TCP listens at the addresses of all of them. If the environment sets UCX_NET_DEVICES, that value is used.
    /// Default: none, which allows all devices.
    /// </summary>
    public string? Devices { get; set; }

    /// <summary>
    /// What happens to operations whose peer is gone; it must be the same for all peers. Default:
    /// <see cref="UcxErrorHandling.Peer"/>.
    /// </summary>
    [OptionChoice(typeof(UcxErrorHandling))]
    public UcxErrorHandling ErrorHandling { get; set; } = UcxErrorHandling.Peer;

    /// <summary>
    /// How often UCX checks that an idle peer still exists, if <see cref="ErrorHandling"/> is
    /// <see cref="UcxErrorHandling.Peer"/>. If the environment sets UCX_KEEPALIVE_INTERVAL, that value is used. The check
    /// detects a host that is gone, but not a process that hangs; operations with such a process time out.
    /// Range: 1 ms to 24 h, or -1 ms for never. Default: 20 s.
    /// </summary>
    [OptionTimeRange(1, OptionTimeRangeAttribute.Day, InfiniteMeans = "never")]
    public TimeSpan KeepaliveInterval { get; set; } = TimeSpan.FromSeconds(20);

    /// <summary>The file of UCX's library libucp. Default: none, which selects the system's <c>libucp.so.0</c>.</summary>
    public string? LibraryPath { get; set; }

    /// <summary>
    /// UCX's own settings (<c>ucx_info -c</c> lists them), by name, such as <c>UCX_TCP_TX_SEG_SIZE</c>. They are set in
    /// the process's environment before a context is opened, for all contexts of the process; variables that are
    /// already set there keep their values. Settings that UCX reads while it is loaded, such as <c>UCX_LOG_LEVEL</c>,
    /// have no effect after that, and a warning is logged.
    /// </summary>
    public IDictionary<string, string> Settings { get; private set; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Options of the endpoint.</summary>
    [ValidateObjectMembers(typeof(RmaEndpointOptionsRanges))]
    public RmaEndpointOptions Endpoint { get; private set; } = new();

    /// <summary>Returns a copy that shares nothing with these options.</summary>
    internal UcxOptions Copy()
    {
        var copy = (UcxOptions)MemberwiseClone();
        copy.Settings = new Dictionary<string, string>(Settings, StringComparer.Ordinal);
        copy.Endpoint = Endpoint.Copy();
        return copy;
    }
}
