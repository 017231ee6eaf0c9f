using AllocTools.Endpoints;
using AllocTools.Providers;

namespace AllocTools.Ucx;

/// <summary>The keys of <see cref="UcxOptions"/>.</summary>
internal static class UcxOptionKeys
{
    public static RmaOptionKeys<UcxOptions> All { get; } = new RmaOptionKeys<UcxOptions>()
        .Text(nameof(UcxOptions.Transports), (o, v) => o.Transports = v)
        .Text(nameof(UcxOptions.Devices), (o, v) => o.Devices = v)
        .Choice<UcxErrorHandling>(nameof(UcxOptions.ErrorHandling), (o, v) => o.ErrorHandling = v)
        .Duration(nameof(UcxOptions.KeepaliveInterval), (o, v) => o.KeepaliveInterval = v)
        .Text(nameof(UcxOptions.LibraryPath), (o, v) => o.LibraryPath = v)
        .Map(nameof(UcxOptions.Settings), (o, name, v) => o.Settings[name] = v)
        .Section(nameof(UcxOptions.Endpoint), o => o.Endpoint, new RmaOptionKeys<RmaEndpointOptions>().EndpointOptions());
}
