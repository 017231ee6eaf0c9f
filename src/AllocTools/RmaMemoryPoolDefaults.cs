namespace AllocTools;

/// <summary>The size classes of a pool that configures none.</summary>
internal static class RmaMemoryPoolDefaults
{
    /// <summary>The block sizes of the C++ library, with 2 MiB in all at start.</summary>
    public static IReadOnlyList<SizeClassOptions> SizeClasses { get; } =
    [
        new() { BlockSize = 1 << 10, InitialBlocks = 256 },
        new() { BlockSize = 16 << 10, InitialBlocks = 16 },
        new() { BlockSize = 64 << 10, InitialBlocks = 8 },
        new() { BlockSize = 1 << 20, InitialBlocks = 1 },
    ];

    public static IReadOnlyList<SizeClassOptions> SizeClassesOf(RmaMemoryPoolOptions options) =>
        options.SizeClasses.Count != 0 ? [.. options.SizeClasses] : options.SizeClassRange?.ToSizeClasses() ?? SizeClasses;

    /// <summary>Whether the classes are only defaults: blocks that don't fit are then registered on demand.</summary>
    public static bool AreDefault(RmaMemoryPoolOptions options) => options is { SizeClasses.Count: 0, SizeClassRange: null };
}
