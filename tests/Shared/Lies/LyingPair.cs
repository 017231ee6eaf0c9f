using AllocTools.Endpoints;

namespace AllocTools.Testing.Lies;

/// <summary>Two test peers (tests/AllocTools.TestPeer), each of which takes lines and gives lines: a target that exposes memory, and a liar. Both isolate their exposures.</summary>
/// <param name="askTarget">Has the target do something.</param>
/// <param name="askLiar">Has the liar do something.</param>
/// <param name="end">Ends both.</param>
internal sealed class LyingPair(Func<string, Task<string>> askTarget, Func<string, Task<string>> askLiar, Func<ValueTask> end) : IAsyncDisposable
{
    public const int BufferLength = 64 << 10;
    public const int ExposedOffset = 16 << 10;
    public const int ExposedLength = 16 << 10;

    /// <summary>What each byte of the target is.</summary>
    public const byte Secret = 5;

    private int _exposures;

    /// <summary>How long the liar waits for what its lie comes to.</summary>
    public TimeSpan Patience { get; init; } = TestTime.Seconds(10);

    public Task<string> AskTargetAsync(string line) => askTarget(line);

    public Task<string> AskLiarAsync(string line) => askLiar(line);

    /// <summary>Two processes of the same kind.</summary>
    /// <param name="target">What the target is started with.</param>
    /// <param name="liar">What the liar is started with.</param>
    /// <param name="patience">How long the liar waits for what its lie comes to.</param>
    public static LyingPair OfProcesses(string[] target, string[] liar, TimeSpan patience)
    {
        PeerProcess first = new(target);
        PeerProcess second = new(liar);
        return new LyingPair(first.AskAsync, second.AskAsync, async () =>
        {
            await first.DisposeAsync();
            await second.DisposeAsync();
        }) { Patience = patience };
    }

    /// <summary>What the target exposes in the middle of a buffer.</summary>
    public async Task<RemoteMemory> ExposeAsync(int buffer, RmaAccess access)
    {
        _exposures++;
        string exposed = await AskTargetAsync($"expose {buffer} {ExposedOffset} {ExposedLength} {access.ToString().Replace(" ", "", StringComparison.Ordinal)}");
        return RemoteMemory.Read(Convert.FromBase64String(exposed));
    }

    /// <summary>The last one.</summary>
    public async Task EndExposureAsync() => Expect("ok", await AskTargetAsync($"conceal {_exposures - 1}"));

    /// <summary>Where the target is, as the liar was told.</summary>
    public Task<string> AddressAsync() => AskTargetAsync("address");

    /// <summary>Has each insert the other one.</summary>
    public async Task ConnectAsync()
    {
        Expect("ok", await AskTargetAsync($"peer {await AskLiarAsync("address")}"));
        Expect("ok", await AskLiarAsync($"peer {await AddressAsync()}"));
    }

    public static void Expect(string expected, string answer)
    {
        if (answer != expected)
            throw new InvalidOperationException($"The peer has answered: {answer}");
    }

    public ValueTask DisposeAsync() => end();
}
