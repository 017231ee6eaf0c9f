using System.Globalization;
using System.Text.Json;
using AllocTools;
using AllocTools.Libfabric;
using AllocTools.Regions;
using WorkerService.Application;

namespace WorkerService.Jobs;

/// <summary>Does to the pools what its standard input says, one line a command, so that dashboards and alerts can be tried out.</summary>
/// <remarks>Each command ends in a line that begins with <c>done</c>; the end of the input ends the job.</remarks>
internal sealed class DrillJob(IRmaMemoryPool pool, IRmaMemoryPool locked, IRmaEndpoint endpoint, IConfigurationRoot configuration) : ITransferJob
{
    /// <summary>The name of the pool whose registrations can be made to fail.</summary>
    public const string LockedPool = "locked";

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);
    private readonly Stack<RmaBuffer> _held = new();
    private readonly List<Task<RmaBuffer>> _waiting = [];
    private readonly Stack<(Task Receiving, CancellationTokenSource Release)> _receiving = new();
    private SilentPeer? _silent;
    private int _reloads;

    public bool EndsWithStop => true;

    private RmaSizeClassStatistics Largest => pool.GetStatistics().SizeClasses.MaxBy(c => c.BlockSize)!;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var input = new StreamReader(Console.OpenStandardInput());
        while (await Task.Run(input.ReadLine, CancellationToken.None).WaitAsync(cancellationToken) is { } line)
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0)
                continue;
            int count = words.Length < 2 ? 1 : CountOf(line, words[1]);
            Console.Out.WriteLine($"done {words[0]} {await RunAsync(words[0], count, cancellationToken)}".TrimEnd());
        }
        await ReleaseAsync();
    }

    private static int CountOf(string line, string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            ? count
            : throw new UsageException($"'{line}': a count is a whole number from 0 to {int.MaxValue}, not '{text}'.");

    private async Task<string> RunAsync(string command, int count, CancellationToken cancellationToken)
    {
        switch (command)
        {
            case "hit":
                Repeat(count, () => pool.Rent(1).Dispose());
                return "";
            case "miss":
                Repeat(count, () => pool.Rent(Largest.BlockSize + 1).Dispose());
                return "";
            case "hold":
                Repeat(count, () => _held.Push(pool.Rent(Largest.BlockSize)));
                return "";
            case "reject":
                Repeat(count, RejectOnce);
                return "";
            case "wait":
                Repeat(count, () => _waiting.Add(pool.RentAsync(Largest.BlockSize, cancellationToken).AsTask()));
                return "";
            case "release":
                await ReleaseAsync();
                return "";
            case "fail":
                Repeat(count, FailOnce);
                return "";
            case "leak":
                long leaks = pool.GetStatistics().Leaks + count;
                Repeat(count, Leak);
                await UntilAsync(GC.Collect, () => pool.GetStatistics().Leaks >= leaks, cancellationToken);
                return "";
            case "trim":
                long trims = pool.GetStatistics().Trims;
                await UntilAsync(() => { }, () => pool.GetStatistics().Trims > trims, cancellationToken);
                return "";
            case "write":
                await WriteAsync(count, cancellationToken);
                return "";
            case "receive":
                Repeat(count, Receive);
                return "";
            case "lose":
                for (int i = 0; i < count; i++)
                    await WriteToNobodyAsync(cancellationToken);
                return "";
            case "quarantine":
                _silent ??= await SilentPeer.OpenAsync(pool, endpoint, cancellationToken);
                for (int i = 0; i < count; i++)
                    await _silent.WriteInVainAsync(cancellationToken);
                return "";
            case "reload":
                Repeat(count, () => Configure("AllocTools:DrainTimeout", TimeSpan.FromSeconds(10 + (++_reloads % 100)).ToString()));
                return "";
            case "spoil":
                Configure("AllocTools:DrainTimeout", "whenever");
                return "";
            case "stats":
                return JsonSerializer.Serialize(new[] { pool, locked }.ToDictionary(p => p.Name, p => p.GetStatistics()));
            case "endpoint":
                return JsonSerializer.Serialize(endpoint.GetStatistics());
            default:
                throw new UsageException($"'{command}' is no command of a drill; there are hit, miss, hold, reject, wait, receive, release, fail, leak, trim, write, lose, quarantine, reload, spoil, stats and endpoint, each with a count.");
        }
    }

    private async Task ReleaseAsync()
    {
        while (_held.TryPop(out RmaBuffer buffer))
            buffer.Dispose();
        foreach (Task<RmaBuffer> waiting in _waiting)
            (await waiting).Dispose();
        _waiting.Clear();
        while (_receiving.TryPop(out (Task Receiving, CancellationTokenSource Release) receive))
        {
            await receive.Release.CancelAsync();
            await receive.Receiving;
            receive.Release.Dispose();
        }
        _silent?.Dispose();
        _silent = null;
    }

    /// <summary>As an edit of appsettings.json does.</summary>
    private void Configure(string key, string value)
    {
        configuration[key] = value;
        configuration.Reload();
    }

    private void Receive()
    {
        var release = new CancellationTokenSource();
        _receiving.Push((ReceiveAsync(release.Token), release));
    }

    /// <summary>Waits for a message that nobody sends.</summary>
    private async Task ReceiveAsync(CancellationToken released)
    {
        using RmaBuffer buffer = pool.Rent(1);
        try
        {
            await endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, released);
        }
        catch (OperationCanceledException) when (released.IsCancellationRequested)
        {
            // Released.
        }
    }

    /// <summary>Writes to a peer that has just closed its endpoint.</summary>
    private async Task WriteToNobodyAsync(CancellationToken cancellationToken)
    {
        using RmaBuffer buffer = pool.Rent(1000);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        RmaPeer peer;
        using (IRmaEndpoint closed = pool.Context.OpenEndpoint())
            peer = endpoint.InsertPeer(closed.Address.Span);
        using RemoteRegion remote = endpoint.Import(peer, exposure.Remote);
        try
        {
            await endpoint.WriteAsync(buffer, remote, TimeSpan.FromMilliseconds(100), cancellationToken);
        }
        catch (RmaOperationException)
        {
            endpoint.RemovePeer(peer);
            return;
        }
        throw new InvalidOperationException("Writing to a closed endpoint succeeded.");
    }

    /// <summary>Takes all that the cap leaves: the request after it is refused.</summary>
    private void RejectOnce()
    {
        var taken = new Stack<RmaBuffer>();
        while (pool.TryRent(Largest.BlockSize, out RmaBuffer buffer))
            taken.Push(buffer);
        while (taken.TryPop(out RmaBuffer buffer))
            buffer.Dispose();
    }

    private void FailOnce()
    {
        using MissingPages pages = new();
        try
        {
            locked.Register(pages.Address, MissingPages.Length).Dispose();
        }
        catch (RmaRegistrationException)
        {
            return;
        }
        throw new InvalidOperationException("Registering memory that has no pages succeeded.");
    }

    private void Leak() => _ = pool.Rent(1);

    private async Task WriteAsync(int count, CancellationToken cancellationToken)
    {
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using RmaBuffer source = pool.Rent(1000);
        using RmaBuffer target = pool.Rent(1000);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
        for (int i = 0; i < count; i++)
            await endpoint.WriteAsync(source, remote, cancellationToken: cancellationToken);
    }

    /// <summary>What the pool does by a timer, and the collector by its finalizers, tells nobody when it is done.</summary>
    private static async Task UntilAsync(Action nudge, Func<bool> holds, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(Look);
        do
            nudge();
        while (!holds() && await timer.WaitForNextTickAsync(cancellationToken));
    }

    private static void Repeat(int count, Action action)
    {
        for (int i = 0; i < count; i++)
            action();
    }

    /// <summary>A peer that is connected and hangs: its endpoint makes progress only while it is polled, and nobody polls.</summary>
    private sealed class SilentPeer(Stack<IDisposable> opened, RemoteRegion remote, IRmaMemoryPool pool, IRmaEndpoint endpoint) : IDisposable
    {
        private const int Length = 200_000;

        public static async Task<SilentPeer> OpenAsync(IRmaMemoryPool pool, IRmaEndpoint endpoint, CancellationToken cancellationToken)
        {
            var options = new LibfabricOptions { Provider = pool.Context.Traits.ProviderName, Node = "127.0.0.1", Access = RmaAccess.RemoteWrite };
            options.Endpoint.Progress = RmaProgress.Caller;
            Stack<IDisposable> opened = new();
            IRmaContext context = Opened(new LibfabricProvider(options).Open());
            RmaMemoryPool<LibfabricProvider> memory = Opened(new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite }, "silent"));
            RmaBuffer target = Opened(memory.Rent(Length));
            RmaExposure exposure = Opened(target.Expose(RmaAccess.RemoteWrite));
            IRmaEndpoint listener = Opened(context.OpenEndpoint());
            RemoteRegion remote = Opened(endpoint.Import(endpoint.InsertPeer(listener.Address.Span), exposure.Remote));
            // The connection is made while somebody polls.
            using RmaBuffer first = pool.Rent(Length);
            Task writing = endpoint.WriteAsync(first, remote, cancellationToken: cancellationToken).AsTask();
            while (!writing.IsCompleted)
            {
                listener.Poll([]);
                await Task.Yield();
            }
            await writing;
            return new SilentPeer(opened, remote, pool, endpoint);

            T Opened<T>(T one)
                where T : IDisposable
            {
                opened.Push(one);
                return one;
            }
        }

        public async Task WriteInVainAsync(CancellationToken cancellationToken)
        {
            using RmaBuffer buffer = pool.Rent(Length);
            try
            {
                await endpoint.WriteAsync(buffer, remote, TimeSpan.FromMilliseconds(100), cancellationToken);
            }
            catch (RmaTimeoutException)
            {
                return;
            }
            throw new InvalidOperationException("A peer that hangs has confirmed a write.");
        }

        /// <summary>Ends the connection, and with it what is outstanding.</summary>
        public void Dispose()
        {
            while (opened.TryPop(out IDisposable? last))
                last.Dispose();
        }
    }
}
