using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using AllocTools.Connections;
using AllocTools.Endpoints;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Soak;

/// <summary>A place for a peer: moves bytes to and from it in all ways, and starts another peer when one was killed.</summary>
/// <param name="settings">The settings of the run.</param>
/// <param name="station">The station of the main process.</param>
/// <param name="ledger">Counts what happens.</param>
/// <param name="links">All peers by number, for their notifications.</param>
/// <param name="isMortal">Whether it is killed now and then.</param>
/// <param name="seed">The seed of everything random here.</param>
internal sealed class PeerLoad(SoakSettings settings, Station station, Ledger ledger, ConcurrentDictionary<int, PeerLink> links, bool isMortal, int seed)
{
    private static int s_number;

    private readonly Random _random = new(seed);
    private long _killedBefore;

    public PeerLink Link { get; private set; } = null!;

    public async Task StartAsync()
    {
        int number = Interlocked.Increment(ref s_number) & 0xFFFF;
        Link = await PeerLink.StartAsync(new ProcessStartInfo(Environment.ProcessPath!, ["peer", "--fabric", settings.Fabric]), station, number);
        links[number] = Link;
        ledger.Count("peers started");
    }

    /// <summary>Runs until it is stopped. The peer is alive then, and no operation with it is outstanding.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        _killedBefore = ledger.Killed;
        do
        {
            PeerLink link = Link;
            List<Task> tasks = [.. Enumerable.Range(0, Request.Slots).Select(slot => GuardAsync(link, "An exchange", new Random(_random.Next()), random => ExchangeAsync(link, slot, random), stop))];
            tasks.Add(GuardAsync(link, "A read", new Random(_random.Next()), random => ReadAsync(link, random, stop), stop));
            tasks.Add(GuardAsync(link, "A connection", new Random(_random.Next()), random => ConnectAsync(link, random, stop), stop));
            if (isMortal)
                tasks.Add(KillAsync(link, settings.Cycle * (_random.NextDouble() * 4 / 3), stop));
            await Task.WhenAll(tasks);
            // It takes a moment until the end of a killed process is known.
            if (link.IsKilled || link.Gone.IsCancellationRequested)
            {
                if (!link.IsKilled)
                    ledger.AddFault($"Peer {link.Number} has ended, though nobody killed it.");
                links.TryRemove(link.Number, out _);
                await link.DisposeAsync();
                await StartAsync();
            }
        }
        while (!stop.IsCancellationRequested);
    }

    /// <summary>Kills the peer after a time. If the time is longer than the cycle, the peer lives on.</summary>
    private async Task KillAsync(PeerLink link, TimeSpan after, CancellationToken stop)
    {
        await Task.Delay(after, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (stop.IsCancellationRequested)
            return;
        ledger.Count(Ledger.KilledPeers);
        link.Kill();
    }

    /// <summary>Repeats some work until it is stopped or the peer is gone.</summary>
    private async Task GuardAsync(PeerLink link, string what, Random random, Func<Random, Task> work, CancellationToken stop)
    {
        try
        {
            while (!stop.IsCancellationRequested && !link.Gone.IsCancellationRequested)
            {
                try
                {
                    await work(random);
                }
                catch (RmaPoolExhaustedException)
                {
                    ledger.AddDocumented($"{what} at the lowered cap: {nameof(RmaPoolExhaustedException)}");
                }
            }
        }
        catch (Exception e) when (link.IsKilled && IsOfLoss(e))
        {
            ledger.AddDocumented($"{what} with a killed peer: {NameOf(e)}");
        }
        catch (Exception e) when (Station.PeersHoldUpOthers(settings.Fabric) && ledger.Killed > _killedBefore && IsOfLossBeside(e))
        {
            ledger.AddDocumented($"{what} beside a killed peer: {NameOf(e)}");
        }
        catch (Exception e) when (e is RmaException or IOException or SocketException or OperationCanceledException or TimeoutException or InvalidDataException or ConnectionAbortedException or ObjectDisposedException or InvalidOperationException)
        {
            ledger.AddFault($"{what} with peer {link.Number}{(link.IsKilled ? ", which was killed," : "")} failed over {settings.Fabric}: {e.GetType().Name}: {e.Message}");
        }
    }

    /// <summary>
    /// Whether the documents announce an error for a peer that is gone: docs/troubleshooting.md, docs/connections.md.
    /// </summary>
    private static bool IsOfLoss(Exception e) =>
        e is RmaOperationException or RmaConnectionException or ConnectionResetException or ConnectionAbortedException or SocketException or OperationCanceledException
        // Only the exception that a stream throws, not derived ones, such as that for the end of a stream in the middle
        // of a frame.
        || e.GetType() == typeof(IOException);

    /// <summary>
    /// Whether they announce an error for an operation, or one of a connection, that was behind an operation to a
    /// killed peer.
    /// </summary>
    private static bool IsOfLossBeside(Exception e) =>
        e is RmaOperationException { ErrorName: "FI_ECONNABORTED" } or ConnectionResetException or ConnectionAbortedException || e.GetType() == typeof(IOException);

    private static string NameOf(Exception e) => e switch
    {
        RmaOperationException operation => $"{e.GetType().Name}, {operation.ErrorName}",
        SocketException socket => $"{e.GetType().Name}, {socket.SocketErrorCode}",
        OperationCanceledException => "its answer does not come",
        _ => e.GetType().Name,
    };

    /// <summary>
    /// Writes a request to the peer, which checks it and writes back into memory that is exposed for this request only.
    /// </summary>
    private async Task ExchangeAsync(PeerLink link, int slot, Random random)
    {
        int length = random.Next(Request.HeaderBytes + 1, Request.SlotBytes + 1), answerLength = random.Next(1, Request.SlotBytes + 1);
        using RmaBuffer source = await station.Pool.RentAsync(length);
        using RmaBuffer answer = await station.Pool.RentAsync(answerLength);
        using RmaExposure exposure = answer.Expose(RmaAccess.RemoteWrite);
        var request = new Request(length, (uint)random.Next(), answerLength, (uint)random.Next(), exposure.Remote.ToArray());
        request.WriteTo(source.Span);
        Task<bool> answered = link.ExpectAsync(slot);
        await station.Endpoint.WriteAsync(source.Slice(0, length), link.Slots.Slice((long)slot * Request.SlotBytes, length), (ulong)slot);
        ledger.Count("writes with notification");
        if (!await answered)
            ledger.AddFault($"Peer {link.Number} says that what was written to it is wrong.");
        ledger.AddWrong("written by a peer to the main process", Pattern.CountWrong(answer.Span[..answerLength], request.AnswerSeed));
        ledger.Count("exposures");
        ledger.Count("bytes", length);
    }

    /// <summary>Reads the peer's memory into an array of the caller, using the registration cache.</summary>
    private async Task ReadAsync(PeerLink link, Random random, CancellationToken stop)
    {
        byte[] array = new byte[link.Readable.Length];
        try
        {
            for (int i = 0; i < 100 && !stop.IsCancellationRequested; i++)
            {
                int length = random.Next(1, array.Length + 1);
                using (RmaBuffer room = station.Cache.Register(array.AsMemory()))
                    await station.Endpoint.ReadAsync(room.Slice(0, length), link.Readable.Slice(0, length), cancellationToken: CancellationToken.None);
                ledger.AddWrong("read by the main process from a peer", Pattern.CountWrong(array.AsSpan(0, length), link.Hello.Seed));
                ledger.Count("reads");
                ledger.Count("bytes", length);
            }
        }
        finally
        {
            station.Cache.Invalidate(array);
        }
    }

    /// <summary>Opens a connection, sends frames both ways, and closes it in order.</summary>
    private async Task ConnectAsync(PeerLink link, Random random, CancellationToken stop)
    {
        byte[] room = Frame.Room();
        await using RmaConnection connection = await station.Connections.ConnectAsync(new IPEndPoint(IPAddress.Loopback, link.Hello.Port), CancellationToken.None);
        Stream stream = connection.AsStream();
        int frames = random.Next(1, 200);
        for (int i = 0; i < frames && !stop.IsCancellationRequested; i++)
        {
            uint seed = (uint)random.Next();
            int length = random.Next(1, Frame.MostBytes + 1);
            await Frame.WriteAsync(stream, room, length, seed, CancellationToken.None);
            if (await Frame.ReadAsync(stream, room, CancellationToken.None) is not { } answer)
                throw new InvalidDataException("The stream of a connection has ended before its answer.");
            ledger.AddWrong("sent by a peer over a connection", answer.Wrong);
            if (answer.Length != length || answer.Seed != seed + 1)
                ledger.AddFault($"Peer {link.Number} has answered frame ({length}, {seed}) by ({answer.Length}, {answer.Seed}).");
            ledger.Count("frames both ways");
            ledger.Count("bytes", 2L * length);
        }
        await connection.Output.CompleteAsync();
        if (await Frame.ReadAsync(stream, room, CancellationToken.None) is not null)
            ledger.AddFault($"Peer {link.Number} has sent more over a connection than was asked of it.");
        ledger.Count("connections");
    }
}
