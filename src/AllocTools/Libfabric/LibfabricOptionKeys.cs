using AllocTools.Providers;

namespace AllocTools.Libfabric;

/// <summary>The keys of <see cref="LibfabricOptions"/>.</summary>
internal static class LibfabricOptionKeys
{
    public static RmaOptionKeys<LibfabricOptions> All { get; } = new RmaOptionKeys<LibfabricOptions>()
        .Text(nameof(LibfabricOptions.Provider), (o, v) => o.Provider = v)
        .Text(nameof(LibfabricOptions.Domain), (o, v) => o.Domain = v)
        .Text(nameof(LibfabricOptions.Node), (o, v) => o.Node = v)
        .Text(nameof(LibfabricOptions.AdvertisedNode), (o, v) => o.AdvertisedNode = v)
        .Text(nameof(LibfabricOptions.Service), (o, v) => o.Service = v)
        .Choice<RmaAccess>(nameof(LibfabricOptions.Access), (o, v) => o.Access = v)
        .Flag(nameof(LibfabricOptions.MrCache), (o, v) => o.MrCache = v)
        .Flag(nameof(LibfabricOptions.VirtualAddressing), (o, v) => o.VirtualAddressing = v)
        .Text(nameof(LibfabricOptions.LibraryPath), (o, v) => o.LibraryPath = v)
        .Map(nameof(LibfabricOptions.Settings), (o, name, v) => o.Settings[name] = v)
        .Section(nameof(LibfabricOptions.Endpoint), o => o.Endpoint, new RmaOptionKeys<LibfabricEndpointOptions>()
            .EndpointOptions()
            .Choice<LibfabricCompletionLevel>(nameof(LibfabricEndpointOptions.CompletionLevel), (o, v) => o.CompletionLevel = v)
            .Integer(nameof(LibfabricEndpointOptions.MaxUnreceivedMessages), (o, v) => o.MaxUnreceivedMessages = v));
}
