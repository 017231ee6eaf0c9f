using System.Globalization;
using System.IO.MemoryMappedFiles;
using System.Text.Json;
using AllocTools.Caching;
using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Regions;

namespace PoolDrill;

/// <summary>Executes the commands on its standard input, one per line, against the pools, so that dashboards and alerts can be tried out.</summary>
/// <remarks>Each command ends in a line that begins with <c>done</c>; the end of the input ends the job.</remarks>
internal sealed class Drill(IRmaMemoryPool pool, [FromKeyedServices(Drill.LockedPool)] IRmaMemoryPool locked, IRmaEndpoint endpoint, RmaRegistrationCache cache, IConfiguration configuration)
{
    /// <summary>The name of the pool whose registrations can be made to fail.</summary>
    public const string LockedPool = "locked";

    private readonly Stack<RmaBuffer> _held = new();
    private readonly byte[] _array = new byte[100];
    private readonly List<Task<RmaBuffer>> _waiting = [];
    private readonly Stack<(Task Receiving, CancellationTokenSource Release)> _receiving = new();
    private SilentPeer? _silent;
    private int _reloads;

    private RmaSizeClassStatistics Largest => pool.GetStatistics().SizeClasses.MaxBy(c => c.BlockSize)!;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var input = new StreamReader(Console.OpenStandardInput());
        while (await Task.Run(input.ReadLine, CancellationToken.None).WaitAsync(cancellationToken) is { } line)
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0)
                continue;
            int count = 1;
            if (words.Length > 1 && !int.TryParse(words[1], NumberStyles.None, InvariantCulture, out count))
                throw new UsageException($"The count in '{line}' is '{words[1]}'; it must be a whole number between 0 and {int.MaxValue}.");
            Console.Out.WriteLine($"done {words[0]} {await RunAsync(words[0], count, cancellationToken)}".TrimEnd());
        }
        await ReleaseAsync();
    }

    private async Task<string> RunAsync(string command, int count, CancellationToken token)
    {
        RmaPoolStatistics before = pool.GetStatistics();
        if (command == "quarantine")
            _silent ??= await SilentPeer.OpenAsync(pool, endpoint, token);
        Func<Task>? action = command switch
        {
            "hit" => Now(() => pool.Rent(1).Dispose()),
            "miss" => Now(() => pool.Rent(Largest.BlockSize + 1).Dispose()),
            "cache" => Now(() => cache.Register(_array).Dispose()),
            "hold" => Now(() => _held.Push(pool.Rent(Largest.BlockSize))),
            "reject" => Now(Reject),
            "wait" => Now(() => _waiting.Add(pool.RentAsync(Largest.BlockSize, token).AsTask())),
            "receive" => Now(Receive),
            "fail" => Now(FailToRegister),
            "leak" => Now(() => _ = pool.Rent(1)),
            "write" => () => Load.WriteAsync(pool, endpoint, endpoint.InsertPeer(endpoint.Address.Span), 1000, token),
            "lose" => () => WriteToNobodyAsync(token),
            "quarantine" => () => _silent!.WriteInVainAsync(token),
            "reload" => Now(() => Configure(TimeSpan.FromSeconds(10 + (++_reloads % 100)).ToString())),
            "spoil" => Now(() => Configure("whenever")),
            "trim" or "release" or "stats" or "endpoint" => () => Task.CompletedTask,
            _ => throw new UsageException($"Unknown command '{command}'. The commands are hit, miss, cache, hold, reject, wait, receive, release, fail, leak, trim, write, lose, quarantine, reload, spoil, stats and endpoint, each with a count."),
        };
        for (int i = 0; i < count; i++)
            await action();
        if (command == "release")
            await ReleaseAsync();
        // The pool's timer and the garbage collector's finalizers give no other indication that they have run.
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while ((command == "leak" && pool.GetStatistics().Leaks < before.Leaks + count) || (command == "trim" && pool.GetStatistics().Trims <= before.Trims))
        {
            GC.Collect();
            await timer.WaitForNextTickAsync(token);
        }
        return command switch
        {
            "stats" => JsonSerializer.Serialize(new[] { pool, locked }.ToDictionary(p => p.Name, p => p.GetStatistics())),
            "endpoint" => JsonSerializer.Serialize(endpoint.GetStatistics()),
            _ => "",
        };

        static Func<Task> Now(Action action) => () =>
        {
            action();
            return Task.CompletedTask;
        };
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
            await receive.Receiving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            receive.Release.Dispose();
        }
        _silent?.Dispose();
        _silent = null;
    }

    /// <summary>Changes the configuration, like an edit of appsettings.json.</summary>
    private void Configure(string drainTimeout)
    {
        configuration["AllocTools:DrainTimeout"] = drainTimeout;
        ((IConfigurationRoot)configuration).Reload();
    }

    /// <summary>Waits for a message that never comes.</summary>
    private void Receive()
    {
        var release = new CancellationTokenSource();
        _receiving.Push((ReceiveAsync(), release));

        async Task ReceiveAsync()
        {
            using RmaBuffer buffer = pool.Rent(1);
            await endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, release.Token);
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
        await FailsAsync<RmaOperationException>(endpoint.WriteAsync(buffer, remote, TimeSpan.FromMilliseconds(100), cancellationToken).AsTask(), "Writing to a closed endpoint succeeded.");
        endpoint.RemovePeer(peer);
    }

    private static async Task FailsAsync<T>(Task task, string otherwise)
        where T : Exception
    {
        try
        {
            await task;
        }
        catch (T)
        {
            return;
        }
        throw new InvalidOperationException(otherwise);
    }

    /// <summary>Rents everything that the cap allows, so that the next request is refused.</summary>
    private void Reject()
    {
        var taken = new Stack<RmaBuffer>();
        while (pool.TryRent(Largest.BlockSize, out RmaBuffer buffer))
            taken.Push(buffer);
        while (taken.TryPop(out RmaBuffer buffer))
            buffer.Dispose();
    }

    /// <summary>
    /// Registers memory that is mapped but has no pages, because the file behind it was truncated. Locking it fails
    /// with ENOMEM, as locking too much memory does.
    /// </summary>
    private void FailToRegister()
    {
        const int Length = 4096;
        using var file = new FileStream(Path.Combine(Path.GetTempPath(), Path.GetRandomFileName()), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose);
        file.SetLength(Length);
        using var mapping = MemoryMappedFile.CreateFromFile(file, null, Length, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
        using MemoryMappedViewAccessor view = mapping.CreateViewAccessor(0, Length);
        file.SetLength(0);
        try
        {
            locked.Register(view.SafeMemoryMappedViewHandle.DangerousGetHandle(), Length).Dispose();
        }
        catch (RmaRegistrationException)
        {
            return;
        }
        throw new InvalidOperationException("Registering memory that has no pages succeeded.");
    }

    /// <summary>A connected peer that hangs: its endpoint makes progress only while it is polled, and nothing polls it.</summary>
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
            // The connection is established while the endpoint is polled.
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
            await FailsAsync<RmaTimeoutException>(endpoint.WriteAsync(buffer, remote, TimeSpan.FromMilliseconds(100), cancellationToken).AsTask(), "A peer that hangs has confirmed a write.");
        }

        /// <summary>Ends the connection, and with it the outstanding operations.</summary>
        public void Dispose()
        {
            while (opened.TryPop(out IDisposable? last))
                last.Dispose();
        }
    }
}
