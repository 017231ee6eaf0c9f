using System.Globalization;
using System.Text.Json;
using AllocTools;
using WorkerService.Application;

namespace WorkerService.Jobs;

/// <summary>Does to the pools what its standard input says, one line a command, so that dashboards and alerts can be tried out.</summary>
/// <remarks>Each command ends in a line that begins with <c>done</c>; the end of the input ends the job.</remarks>
internal sealed class DrillJob(IRmaMemoryPool pool, IRmaMemoryPool locked, IRmaEndpoint endpoint) : ITransferJob
{
    /// <summary>The name of the pool whose registrations can be made to fail.</summary>
    public const string LockedPool = "locked";

    /// <summary>Never mapped (mmap_min_addr): locking it fails as locking too much does, with ENOMEM.</summary>
    private const nint UnmappedAddress = 0x1000;

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);
    private readonly Stack<RmaBuffer> _held = new();
    private readonly List<Task<RmaBuffer>> _waiting = [];

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
            case "stats":
                return JsonSerializer.Serialize(new[] { pool, locked }.ToDictionary(p => p.Name, p => p.GetStatistics()));
            case "endpoint":
                return JsonSerializer.Serialize(endpoint.GetStatistics());
            default:
                throw new UsageException($"'{command}' is no command of a drill; there are hit, miss, hold, reject, wait, release, fail, leak, trim, write, stats and endpoint, each with a count.");
        }
    }

    private async Task ReleaseAsync()
    {
        while (_held.TryPop(out RmaBuffer buffer))
            buffer.Dispose();
        foreach (Task<RmaBuffer> waiting in _waiting)
            (await waiting).Dispose();
        _waiting.Clear();
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
        try
        {
            locked.Register(UnmappedAddress, 4096).Dispose();
        }
        catch (RmaRegistrationException)
        {
            return;
        }
        throw new InvalidOperationException("Registering memory that is not mapped succeeded.");
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
}
