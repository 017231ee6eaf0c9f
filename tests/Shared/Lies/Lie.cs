using AllocTools.Endpoints;

namespace AllocTools.Testing.Lies;

/// <summary>A claim to memory that the liar has no right to.</summary>
/// <param name="Name">A description of the lie.</param>
/// <param name="IsWrite">Whether it writes to the memory or reads from it.</param>
/// <param name="Tell">Returns what is claimed.</param>
internal sealed record Lie(string Name, bool IsWrite, Func<LyingScene, Claim> Tell)
{
    public const string ReadOfWritten = "read: what is exposed for writing";
    public const string WriteOfRead = "write: what is exposed for reading";

    private const long Length = LyingPair.ExposedLength;

    /// <summary>Lies about the target's buffers, whose content the test knows.</summary>
    public static IReadOnlyList<Lie> AboutBuffers { get; } =
    [
        .. Both("behind the end", static s => Of(s.Given, s.Given.Address + Length, Length)),
        .. Both("before the start", static s => Of(s.Given, s.Given.Address - 4096, 4095)),
        .. Both("one byte over the end", static s => Of(s.Given, s.Given.Address + 1, Length)),
        .. Both("one byte before the start", static s => Of(s.Given, s.Given.Address - 1, Length)),
        .. Both("an exposure that has ended", static s => Of(s.Ended)),
        .. Both("the key of an exposure that has ended, and the address of one that has not", static s => Of(s.Ended, s.Given.Address, Length)),
        .. Both("a buffer that was returned and rented again", static s => Of(s.OfReturned)),
        new(WriteOfRead, true, static s => Of(s.ForReading)),
        new(ReadOfWritten, false, static s => Of(s.ForWriting)),
    ];

    /// <summary>
    /// Lies about addresses where no process has memory. If they are believed, they end the target's process.
    /// </summary>
    public static IReadOnlyList<Lie> AboutNoMemory { get; } =
    [
        .. Both("an end beyond the last address", static s => Of(s.Given, ulong.MaxValue - 100, 4096)),
        .. Both("a low address, where nothing is", static s => Of(s.Given, s.Given.Address > 1 << 20 ? 8192UL : 1UL << 20, 4096)),
    ];

    /// <summary>Lies about keys, where keys are numbers.</summary>
    public static IReadOnlyList<Lie> AboutKeys { get; } =
    [
        .. Both("one bit of the key", static s => Of(s.Given) with { Key = s.Given.Key ^ 1 }),
        .. Both("the key 0", static s => Of(s.Given) with { Key = 0 }),
        .. Both("the last key", static s => Of(s.Given) with { Key = ulong.MaxValue }),
        .. Both("half of the key", static s => Of(s.Given) with { Key = s.Given.Key >> 32 }),
    ];

    /// <summary>
    /// Lies about memory whose content, or even existence, is unknown. If they are believed, they may change anything
    /// in the target.
    /// </summary>
    public static IReadOnlyList<Lie> AboutUnknownMemory { get; } =
    [
        .. Both("an end at the last address", static s => Of(s.Given, ulong.MaxValue - 4096, 4096)),
        .. Both("far behind the end", static s => Of(s.Given, s.Given.Address + (1UL << 30), Length)),
        .. Both("an exposure of the process before its restart", static s => Of(s.BeforeRestart)),
    ];

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Lie> All { get; } = [.. AboutKeys, .. AboutBuffers, .. AboutNoMemory, .. AboutUnknownMemory];

    private static Lie[] Both(string name, Func<LyingScene, Claim> tell) => [new($"write: {name}", true, tell), new($"read: {name}", false, tell)];

    private static Claim Of(RemoteMemory memory) => new(memory, memory.Address, memory.Length, memory.Key);

    private static Claim Of(RemoteMemory memory, ulong address, long length) => new(memory, address, length, memory.Key);
}

/// <summary>The memory that a liar claims.</summary>
/// <param name="Of">The description that the claim is made from.</param>
/// <param name="Address">The address of the first byte.</param>
/// <param name="Length">The length in bytes.</param>
/// <param name="Key">The key.</param>
internal readonly record struct Claim(RemoteMemory Of, ulong Address, long Length, ulong Key);

/// <summary>The outcome of a lie.</summary>
public enum LieEnd
{
    /// <summary>No byte of the target was read or changed.</summary>
    Nothing,

    /// <summary>Bytes were read or changed.</summary>
    Believed,

    /// <summary>The target's process has ended.</summary>
    TargetEnded,
}
