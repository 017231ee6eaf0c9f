using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.MultiRail;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.TestPeer;

/// <summary>A process with several rails, which writes to and reads from another one.</summary>
internal sealed class RailPeer(string[] fabrics, RmaMultiRailOptions options)
{
    private readonly ConcurrentQueue<string> _changes = new();
    private RmaRailMemory? _memory;
    private RmaRailExposure? _exposure;
    private RmaRailPeer? _peer;
    private RmaRailRegion? _region;

    public async Task<int> RunAsync()
    {
        List<IRmaContext> contexts = [];
        List<RmaRail> rails = [];
        foreach (string fabric in fabrics)
        {
            IRmaContext context = Fabric.Open(fabric);
            contexts.Add(context);
            var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, MaxRegisteredBytes = 256 << 20 });
            rails.Add(new RmaRail($"rail{rails.Count}", pool, context.OpenEndpoint()));
        }
        var multi = new RmaMultiRail(rails, options);
        Task reading = ReadChangesAsync(multi);
        while (await Console.In.ReadLineAsync() is { } line)
            Console.WriteLine(await AnswerAsync(multi, line.Split(' ')));
        await multi.DisposeAsync();
        await reading;
        _exposure?.Dispose();
        _memory?.Dispose();
        foreach (RmaRail rail in rails)
        {
            await rail.Endpoint.DisposeAsync();
            await ((IAsyncDisposable)rail.Pool).DisposeAsync();
        }
        contexts.ForEach(static c => c.Dispose());
        return 0;
    }

    private async Task<string> AnswerAsync(RmaMultiRail multi, string[] words)
    {
        switch (words)
        {
            case ["address"]:
                return Convert.ToBase64String(multi.Address.Span);
            case ["rent", var length]:
                _memory = multi.Rent(int.Parse(length, CultureInfo.InvariantCulture));
                _exposure = _memory.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
                return Convert.ToBase64String(_exposure.ToArray());
            case ["meet", var address, var memory]:
                _peer = multi.InsertPeer(Convert.FromBase64String(address));
                _region = multi.Import(_peer, Convert.FromBase64String(memory));
                return "ok";
            case ["fill", var seed]:
                Fill(_memory!.Span, int.Parse(seed, CultureInfo.InvariantCulture));
                return "ok";
            case ["write"]:
                return await TimeAsync(() => multi.WriteAsync(_memory!, _region!));
            case ["read"]:
                return await TimeAsync(() => multi.ReadAsync(_memory!, _region!));
            case ["wrong", var seed]:
                return CountWrong(_memory!.Span, int.Parse(seed, CultureInfo.InvariantCulture)).ToString(CultureInfo.InvariantCulture);
            case ["arrived"]:
                return (_memory!.Length - _memory.Span.Count((byte)0)).ToString(CultureInfo.InvariantCulture);
            case ["changes"]:
                return string.Join(", ", _changes);
            case ["bytes"]:
                return string.Join(' ', multi.GetStatistics().Select(static s => s.Bytes));
            case ["repeated"]:
                return multi.GetStatistics().Sum(static s => s.RepeatedStripes).ToString(CultureInfo.InvariantCulture);
            case ["left"]:
                return string.Join(' ', multi.Rails.Select(static r => r.Pool.GetStatistics()).Select(static s => $"{s.RentedBuffers} {s.QuarantinedBuffers}"));
            default:
                return "unknown";
        }
    }

    private async Task ReadChangesAsync(RmaMultiRail multi)
    {
        await foreach (RmaRailChange change in multi.ReadRailChangesAsync())
            _changes.Enqueue($"{change.Rail} {change.State}");
    }

    /// <summary>Returns how many milliseconds it took, or how it failed.</summary>
    private static async Task<string> TimeAsync(Func<Task> transfer)
    {
        long start = Stopwatch.GetTimestamp();
        try
        {
            await transfer();
        }
        catch (RmaException e)
        {
            return $"{e.GetType().Name}: {e.Message}";
        }
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture);
    }

    private static void Fill(Span<byte> memory, int seed)
    {
        for (int i = 0; i < memory.Length; i++)
            memory[i] = Pattern(i, seed);
    }

    private static int CountWrong(ReadOnlySpan<byte> memory, int seed)
    {
        int wrong = 0;
        for (int i = 0; i < memory.Length; i++)
            wrong += memory[i] == Pattern(i, seed) ? 0 : 1;
        return wrong;
    }

    /// <summary>Returns a byte that shows its position and round.</summary>
    private static byte Pattern(int index, int seed) => (byte)((index * 31) + (index >> 8) + (index >> 16) + (seed * 101));
}
