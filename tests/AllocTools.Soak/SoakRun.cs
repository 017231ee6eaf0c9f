using System.Collections.Concurrent;
using System.Diagnostics;

namespace AllocTools.Soak;

/// <summary>The settings of a run.</summary>
/// <param name="Fabric">The fabric that carries the bytes.</param>
/// <param name="Length">The length of the run.</param>
/// <param name="Cycle">How long the load runs between two samples.</param>
/// <param name="Seed">The seed of everything random, except for what the system decides.</param>
internal sealed record SoakSettings(string Fabric, TimeSpan Length, TimeSpan Cycle, int Seed)
{
    /// <summary>Gets the initial time that is not judged: code is still compiled, and caches fill.</summary>
    public TimeSpan WarmUp => TimeSpan.FromTicks(Math.Min(Length.Ticks / 3, TimeSpan.FromMinutes(5).Ticks));
}

/// <summary>A whole run: cycles of load, each followed by a rest in which the processes are measured.</summary>
internal sealed class SoakRun(SoakSettings settings, Action<string> say)
{
    public const string Main = "main process", SteadyPeer = "peer";

    /// <summary>
    /// The minimum number of cycles after the warm-up: on a busy machine, the run continues until they are done.
    /// </summary>
    private const int FewestCycles = 8;

    private const int MortalPeers = 2;

    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(10);

    private readonly Ledger _ledger = new(say);
    private readonly ConcurrentDictionary<int, PeerLink> _links = new();
    private readonly List<Sample> _main = [], _peer = [];
    private Task _dispatching = Task.CompletedTask;

    public async Task<SoakResult> RunAsync(CancellationToken stopping)
    {
        var clock = Stopwatch.StartNew();
        var station = new Station(settings.Fabric, listens: false);
        PeerLoad[] peers = [.. Enumerable.Range(0, MortalPeers + 1).Select(i => new PeerLoad(settings, station, _ledger, _links, isMortal: i > 0, settings.Seed + 100 * i))];
        try
        {
            await RunCyclesAsync(station, peers, clock, stopping);
            await EndAsync(station, peers);
        }
        finally
        {
            foreach (PeerLink link in _links.Values)
                await link.DisposeAsync();
        }
        return SoakResult.Of(settings, clock.Elapsed, _ledger, [new(Main, _main), new(SteadyPeer, _peer)]);
    }

    private async Task RunCyclesAsync(Station station, PeerLoad[] peers, Stopwatch clock, CancellationToken stopping)
    {
        var pool = new PoolLoad(station, _ledger);
        foreach (PeerLoad peer in peers)
            await peer.StartAsync();
        _dispatching = PeerLink.DispatchAsync(station.Endpoint, _links);
        TimeSpan said = default;
        bool isLast = false;
        for (int cycle = 1; !isLast; cycle++)
        {
            using (var stop = CancellationTokenSource.CreateLinkedTokenSource(stopping))
            {
                stop.CancelAfter(settings.Cycle);
                await Task.WhenAll([pool.RunAsync(settings.Seed + 1000 * cycle, stop.Token), .. peers.Select(p => p.RunAsync(stop.Token))]);
            }
            stopping.ThrowIfCancellationRequested();
            // Renew before the sample: operations that a killed peer has blocked stay in quarantine until then, and
            // must not be measured.
            if (Station.IsRenewed(settings.Fabric))
                await RenewAsync(station, peers);
            PeerAnswer[] answers = await Task.WhenAll(peers.Select(static p => p.Link.PauseAsync()));
            foreach (PeerAnswer answer in answers)
                _ledger.Add(answer);
            TimeSpan now = clock.Elapsed;
            _main.Add(await station.SampleAsync(now, stopping));
            _peer.Add(answers[0].Sample! with { Time = now });
            isLast = clock.Elapsed >= settings.Length && _main.Count(s => s.Time > settings.WarmUp) >= FewestCycles;
            // At the end the peers stay paused, so that their memory is not taken away while they read.
            if (!isLast)
                await Task.WhenAll(peers.Select(static p => p.Link.ContinueAsync()));
            if (now - said > BetweenLines)
            {
                said = now;
                say($"{now:h\\:mm\\:ss}  cycle {cycle}: {_ledger.Done.GetValueOrDefault("bytes") >> 20} MiB, {_ledger.Killed} peers killed, {_ledger.WrongBytes} bytes wrong, {_ledger.FaultCount} faults");
            }
        }
    }

    private async Task RenewAsync(Station station, PeerLoad[] peers)
    {
        await Task.WhenAll(peers.Select(static p => p.Link.RenewAsync()));
        foreach (PeerLoad peer in peers)
            peer.Link.Detach();
        await station.RenewAsync();
        await _dispatching;
        _dispatching = PeerLink.DispatchAsync(station.Endpoint, _links);
        await Task.WhenAll(peers.Select(static p => p.Link.GreetAsync()));
    }

    private async Task EndAsync(Station station, PeerLoad[] peers)
    {
        foreach (PeerLoad peer in peers)
        {
            peer.Link.Detach();
            (PeerAnswer answer, int exitCode) = await peer.Link.EndAsync();
            _ledger.Add(answer);
            if (exitCode != 0)
                _ledger.AddFault($"Peer {peer.Link.Number} has ended with code {exitCode}.");
        }
        await station.DisposeAsync();
        // The dispatcher ends with the endpoint, and throws if notifications were lost.
        await _dispatching;
        foreach (string leftover in station.FindLeftovers())
            _ledger.AddFault(leftover);
    }
}
