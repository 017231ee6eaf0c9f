using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using AllocTools.Endpoints;
using AllocTools.Testing;

namespace AllocTools.Soak;

/// <summary>A peer as the main process sees it: the process, and the handles to its memory.</summary>
internal sealed class PeerLink : IAsyncDisposable
{
    private const int ReadableBytes = 64 << 10;

    private static readonly TimeSpan AnswerTime = TestTime.Seconds(90);

    private readonly Process _process;
    private readonly Station _station;
    private readonly CancellationTokenSource _gone = new();
    private readonly TaskCompletionSource _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<bool>?[] _answers = new TaskCompletionSource<bool>?[Request.Slots];
    private RmaBuffer _readable;
    private RmaExposure? _readableExposed;
    private bool _isInserted;

    private PeerLink(Process process, Station station, int number)
    {
        _process = process;
        _station = station;
        Number = number;
        process.Exited += (_, _) =>
        {
            _gone.Cancel();
            _exited.SetResult();
        };
        process.EnableRaisingEvents = true;
    }

    /// <summary>Gets its number, which no other peer of this run has.</summary>
    public int Number { get; }

    /// <summary>Gets whether it was killed, so that failures with it are expected.</summary>
    public bool IsKilled { get; private set; }

    /// <summary>Gets a token that is cancelled when its process has ended.</summary>
    public CancellationToken Gone => _gone.Token;

    public Hello Hello { get; private set; } = null!;

    public RmaPeer Peer { get; private set; }

    public RemoteRegion Slots { get; private set; } = null!;

    public RemoteRegion Readable { get; private set; } = null!;

    /// <summary>Starts a process and connects with it.</summary>
    /// <exception cref="IOException">It did not answer as a peer must, and has been ended.</exception>
    public static async Task<PeerLink> StartAsync(ProcessStartInfo start, Station station, int number)
    {
        start.RedirectStandardInput = start.RedirectStandardOutput = true;
        var link = new PeerLink(Process.Start(start)!, station, number);
        try
        {
            link.Hello = await link.HearAsync(WordsJson.Default.Hello);
            await link.GreetAsync();
        }
        catch
        {
            await link.DisposeAsync();
            throw;
        }
        return link;
    }

    /// <summary>Passes on the notifications of peers, until the endpoint is closed.</summary>
    public static async Task DispatchAsync(IRmaEndpoint endpoint, ConcurrentDictionary<int, PeerLink> links)
    {
        await foreach (RmaNotification notification in endpoint.ReadNotificationsAsync())
        {
            (int number, int slot, bool isRight) = Request.AnswerOf(notification.Value);
            if (links.TryGetValue(number, out PeerLink? link))
                Volatile.Read(ref link._answers[slot])?.TrySetResult(isRight);
        }
    }

    /// <summary>Awaits the next answer of a slot.</summary>
    public Task<bool> ExpectAsync(int slot)
    {
        var answer = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        Volatile.Write(ref _answers[slot], answer);
        return answer.Task.WaitAsync(Station.OperationTimeout, Gone);
    }

    /// <summary>Kills it with SIGKILL.</summary>
    public void Kill()
    {
        IsKilled = true;
        _process.Kill();
    }

    /// <summary>Makes it pause.</summary>
    public async Task<PeerAnswer> PauseAsync()
    {
        await TellAsync(Order.Pause);
        return await HearAsync(WordsJson.Default.PeerAnswer);
    }

    public Task ContinueAsync() => TellAsync(Order.Continue);

    /// <summary>
    /// Makes it reopen its endpoint. From then on none of its operations is under way, and it waits for
    /// <see cref="GreetAsync"/>.
    /// </summary>
    public async Task RenewAsync()
    {
        await TellAsync(Order.Renew);
        Hello = await HearAsync(WordsJson.Default.Hello);
    }

    /// <summary>Connects with it after its hello.</summary>
    public async Task GreetAsync()
    {
        Peer = _station.Endpoint.InsertPeer(Hello.Address);
        _isInserted = true;
        Slots = _station.Endpoint.Import(Peer, RemoteMemory.Read(Hello.Slots!));
        Readable = _station.Endpoint.Import(Peer, RemoteMemory.Read(Hello.Readable));
        _readable = await _station.Pool.RentAsync(ReadableBytes);
        Pattern.Fill(_readable.Span, (uint)Number);
        _readableExposed = await ExposeAsync(_readable);
        await TellAsync(JsonSerializer.Serialize(new Hello
        {
            Address = _station.Endpoint.Address.ToArray(),
            Readable = _readableExposed.Remote.ToArray(),
            Seed = (uint)Number,
            Peer = Number,
        }, WordsJson.Default.Hello));
    }

    /// <summary>Makes it end in order.</summary>
    /// <returns>What it has done since its last answer, and its exit code.</returns>
    public async Task<(PeerAnswer Answer, int ExitCode)> EndAsync()
    {
        await TellAsync(Order.End);
        PeerAnswer answer = await HearAsync(WordsJson.Default.PeerAnswer);
        await WithinAnswerTimeAsync(_process.WaitForExitAsync(), "ended");
        return (answer, _process.ExitCode);
    }

    /// <summary>Removes it from the endpoint; its process goes on.</summary>
    public void Detach()
    {
        // If greeting has failed, not all of this exists.
        Slots?.Dispose();
        Readable?.Dispose();
        if (_isInserted)
            _station.Endpoint.RemovePeer(Peer);
        _isInserted = false;
        _readableExposed?.Dispose();
        _readableExposed = null;
        _readable.Dispose();
        _readable = default;
    }

    public async ValueTask DisposeAsync()
    {
        Detach();
        if (!_process.HasExited)
            _process.Kill();
        await _exited.Task;
        _process.Dispose();
        _gone.Dispose();
    }

    /// <summary>Exposes a buffer once the cap, which others lower for a while, has room for its separate registration.</summary>
    private static async Task<RmaExposure> ExposeAsync(RmaBuffer buffer)
    {
        using var limit = new CancellationTokenSource(AnswerTime);
        while (true)
        {
            try
            {
                return buffer.Expose(RmaAccess.RemoteRead);
            }
            catch (RmaPoolExhaustedException)
            {
                await Task.Delay(20, limit.Token);
            }
        }
    }

    private async Task TellAsync(string line)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
    }

    private async Task<T> HearAsync<T>(JsonTypeInfo<T> type)
    {
        Task<string?> hearing = _process.StandardOutput.ReadLineAsync();
        await WithinAnswerTimeAsync(hearing, "answered");
        string line = await hearing ?? throw new IOException($"Peer {Number} has ended and has not answered.");
        try
        {
            return JsonSerializer.Deserialize(line, type)!;
        }
        catch (JsonException e)
        {
            throw new IOException($"Peer {Number} has said '{line}', which is no {type.Type.Name}.", e);
        }
    }

    private async Task WithinAnswerTimeAsync(Task task, string what)
    {
        try
        {
            await task.WaitAsync(AnswerTime);
        }
        catch (TimeoutException)
        {
            throw new IOException($"Peer {Number} has not {what} for {AnswerTime.TotalSeconds} s.");
        }
    }
}
