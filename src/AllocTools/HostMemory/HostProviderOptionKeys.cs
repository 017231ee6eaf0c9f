using AllocTools.Endpoints;
using AllocTools.Providers;

namespace AllocTools.HostMemory;

/// <summary>The keys of <see cref="HostProviderOptions"/>.</summary>
internal static class HostProviderOptionKeys
{
    public static RmaOptionKeys<HostProviderOptions> All { get; } = new RmaOptionKeys<HostProviderOptions>()
        .Choice<PageLocking>(nameof(HostProviderOptions.Locking), (o, v) => o.Locking = v)
        .Section(nameof(HostProviderOptions.Endpoint), o => o.Endpoint, new RmaOptionKeys<RmaEndpointOptions>().EndpointOptions());
}
