using AllocTools.HostMemory;
using AllocTools.Libfabric;

namespace AllocTools.Hosting.Configuration;

/// <summary>Every key below a pool's section. A test holds it against the properties of the options.</summary>
internal static class OptionKeys
{
    /// <summary>A key of the section that is no option of the pool: <c>true</c> has keys passed over that nobody knows.</summary>
    public const string AllowUnknownKeys = nameof(AllowUnknownKeys);

    public static IReadOnlyList<OptionKey> Pool { get; } =
    [
        new(nameof(RmaMemoryPoolOptions.SizeClasses), OptionKind.List)
        {
            Keys =
            [
                new(nameof(SizeClassOptions.BlockSize), OptionKind.Size),
                new(nameof(SizeClassOptions.InitialBlocks), OptionKind.Integer),
            ],
        },
        new(nameof(RmaMemoryPoolOptions.SizeClassRange), OptionKind.Section)
        {
            Keys =
            [
                new(nameof(SizeClassRangeOptions.From), OptionKind.Size),
                new(nameof(SizeClassRangeOptions.To), OptionKind.Size),
                new(nameof(SizeClassRangeOptions.StepsPerDoubling), OptionKind.Integer),
            ],
        },
        new(nameof(RmaMemoryPoolOptions.MaxRegisteredBytes), OptionKind.Size),
        new(nameof(RmaMemoryPoolOptions.MaxSlabBytes), OptionKind.Size),
        new(nameof(RmaMemoryPoolOptions.MaxIdleDirectBytes), OptionKind.Size),
        new(nameof(RmaMemoryPoolOptions.IdleRetention), OptionKind.Duration),
        new(nameof(RmaMemoryPoolOptions.TrimInterval), OptionKind.Duration),
        OptionKey.Of<RmaHugePages>(nameof(RmaMemoryPoolOptions.HugePages), OptionKind.Choice),
        new(nameof(RmaMemoryPoolOptions.NumaNode), OptionKind.Integer),
        OptionKey.Of<RmaAccess>(nameof(RmaMemoryPoolOptions.Access), OptionKind.Choices),
        OptionKey.Of<RmaIsolation>(nameof(RmaMemoryPoolOptions.Isolation), OptionKind.Choice),
        new(nameof(RmaMemoryPoolOptions.RentTimeout), OptionKind.Duration),
        new(nameof(RmaMemoryPoolOptions.DrainTimeout), OptionKind.Duration),
        OptionKey.Of<RmaLeakDetection>(nameof(RmaMemoryPoolOptions.LeakDetection), OptionKind.Choice),
        new(nameof(RmaMemoryPoolOptions.ClearOnReturn), OptionKind.Flag),
        new(nameof(RmaMemoryPoolOptions.PoisonOnReturn), OptionKind.Flag),
        OptionKey.Of<RmaWarmUp>(nameof(RmaMemoryPoolOptions.WarmUp), OptionKind.Choice),
        new(AllowUnknownKeys, OptionKind.Flag),
    ];

    public static IReadOnlyList<OptionKey> Libfabric { get; } =
    [
        new(nameof(LibfabricOptions.Provider), OptionKind.Text),
        new(nameof(LibfabricOptions.Domain), OptionKind.Text),
        new(nameof(LibfabricOptions.Node), OptionKind.Text),
        new(nameof(LibfabricOptions.AdvertisedNode), OptionKind.Text),
        new(nameof(LibfabricOptions.Service), OptionKind.Text),
        OptionKey.Of<RmaAccess>(nameof(LibfabricOptions.Access), OptionKind.Choices),
        new(nameof(LibfabricOptions.MrCache), OptionKind.Flag),
        new(nameof(LibfabricOptions.VirtualAddressing), OptionKind.Flag),
        new(nameof(LibfabricOptions.LibraryPath), OptionKind.Text),
        new(nameof(LibfabricOptions.Settings), OptionKind.Map),
        new(nameof(LibfabricOptions.Endpoint), OptionKind.Section)
        {
            Keys =
            [
                OptionKey.Of<RmaProgress>(nameof(LibfabricEndpointOptions.Progress), OptionKind.Choice),
                OptionKey.Of<LibfabricCompletionLevel>(nameof(LibfabricEndpointOptions.CompletionLevel), OptionKind.Choice),
                new(nameof(LibfabricEndpointOptions.OperationTimeout), OptionKind.Duration),
                new(nameof(LibfabricEndpointOptions.MaxOutstanding), OptionKind.Integer),
                new(nameof(LibfabricEndpointOptions.MaxMessageLength), OptionKind.Size),
                new(nameof(LibfabricEndpointOptions.MaxUnreceivedMessages), OptionKind.Integer),
                new(nameof(LibfabricEndpointOptions.SpinTime), OptionKind.Duration),
                new(nameof(LibfabricEndpointOptions.LongestPause), OptionKind.Duration),
            ],
        },
    ];

    public static IReadOnlyList<OptionKey> Host { get; } =
    [
        OptionKey.Of<PageLocking>(nameof(HostProviderOptions.Locking), OptionKind.Choice),
    ];

    /// <summary>The keys of a provider's subsection; null for one that is not of this library.</summary>
    public static IReadOnlyList<OptionKey>? OfProvider(Type provider) =>
        provider == typeof(LibfabricProvider) ? Libfabric : provider == typeof(HostProvider) ? Host : null;

    public static string[] NamesOf(IReadOnlyList<OptionKey> keys) => [.. keys.Select(k => k.Name)];
}
