using AllocTools.Endpoints;

namespace AllocTools.Testing.Lies;

/// <summary>
/// Two test peers (tests/AllocTools.TestPeer) that are driven by lines of text: a target that exposes memory, and a
/// liar. Both isolate their exposures.
/// </summary>
/// <param name="askTarget">Sends a line to the target and returns its answer.</param>
/// <param name="askLiar">Sends a line to the liar and returns its answer.</param>
/// <param name="end">Ends both.</param>
internal sealed class LyingPair(Func<string, Task<string>> askTarget, Func<string, Task<string>> askLiar, Func<ValueTask> end) : IAsyncDisposable
{
    public const int BufferLength = 64 << 10;
    public const int ExposedOffset = 16 << 10;
    public const int ExposedLength = 16 << 10;

    /// <summary>The value of each byte of the target.</summary>
    public const byte Secret = 5;

    private int _exposures;

    /// <summary>Gets how long the liar waits for the outcome of its lie.</summary>
    public TimeSpan Patience { get; init; } = TestTime.Seconds(10);

    public Task<string> AskTargetAsync(string line) => askTarget(line);

    public Task<string> AskLiarAsync(string line) => askLiar(line);

    /// <summary>Starts two processes of the same kind.</summary>
    /// <param name="target">The arguments of the target.</param>
    /// <param name="liar">The arguments of the liar.</param>
    /// <param name="patience">How long the liar waits for the outcome of its lie.</param>
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

    /// <summary>Has the target expose the middle of a buffer.</summary>
    public async Task<RemoteMemory> ExposeAsync(int buffer, RmaAccess access)
    {
        _exposures++;
        string exposed = await AskTargetAsync($"expose {buffer} {ExposedOffset} {ExposedLength} {access.ToString().Replace(" ", "", StringComparison.Ordinal)}");
        return RemoteMemory.Read(Convert.FromBase64String(exposed));
    }

    /// <summary>Ends the last exposure.</summary>
    public async Task EndExposureAsync() => Expect("ok", await AskTargetAsync($"conceal {_exposures - 1}"));

    /// <summary>Returns the target's address, as the liar is given it.</summary>
    public Task<string> AddressAsync() => AskTargetAsync("address");

    /// <summary>Has each side insert the other one.</summary>
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
