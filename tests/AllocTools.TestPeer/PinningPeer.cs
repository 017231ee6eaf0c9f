using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Options;

namespace AllocTools.TestPeer;

/// <summary>
/// Opens, grows and closes a pool as the lines on its standard input say. Each answer tells how much was pinned then and what the
/// pool's statistics show, or what went wrong.
/// </summary>
internal sealed class PinningPeer(string fabric) : IDisposable
{
    private readonly List<RmaBuffer> _buffers = [];
    private IRmaContext? _context;
    private RmaMemoryPool<LibfabricProvider>? _pool;
    private IRmaEndpoint? _endpoint;
    private RmaPeer _peer;

    public int Run()
    {
        while (Console.In.ReadLine() is { } line)
        {
            string answer;
            try
            {
                answer = Do(line.Split(' '));
            }
            catch (Exception e) when (e is RmaException or OptionsValidationException)
            {
                answer = $"{e.GetType().Name} {(e as RmaException)?.ErrorName}: {e.Message.ReplaceLineEndings(" ")}";
            }
            Console.Out.WriteLine($"{answer} | pinned {Pinned} registered {_pool?.GetStatistics().RegisteredBytes ?? 0}");
            Console.Out.Flush();
        }
        return 0;
    }

    public void Dispose()
    {
        _endpoint?.Dispose();
        _pool?.Dispose();
        _context?.Dispose();
        _pool = null;
    }

    /// <summary>Gets VmPin of this process in bytes: proc(5).</summary>
    private static long Pinned => 1024 * long.Parse(
        File.ReadLines("/proc/self/status").Single(l => l.StartsWith("VmPin:", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);

    private string Do(string[] words)
    {
        switch (words)
        {
            case ["open"]:
                _context = Fabric.Open(fabric, o => o.Endpoint.OperationTimeout = TimeSpan.FromSeconds(5));
                return "ok";
            case ["pool"]:
                _pool = new RmaMemoryPool<LibfabricProvider>(_context!, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
                return "ok";
            case ["pool", var cap]:
                _pool = new RmaMemoryPool<LibfabricProvider>(_context!, new RmaMemoryPoolOptions { MaxRegisteredBytes = Long(cap), DrainTimeout = TimeSpan.Zero });
                return "ok";
            case ["endpoint"]:
                _endpoint = _context!.OpenEndpoint();
                return "ok";
            case ["address"]:
                return Convert.ToBase64String(_endpoint!.Address.Span);
            case ["peer", var address]:
                _peer = _endpoint!.InsertPeer(Convert.FromBase64String(address));
                return "ok";
            case ["send"]:
                _endpoint!.SendAsync(_buffers[0].Slice(0, 64), _peer).AsTask().GetAwaiter().GetResult();
                return "ok";
            case ["receive"]:
                _endpoint!.ReceiveAsync(_buffers[0].Slice(0, 64)).AsTask().GetAwaiter().GetResult();
                return "ok";
            case ["rent", var length]:
                _buffers.Add(_pool!.Rent(Long(length)));
                return "ok";
            case ["user", var length]:
                // The caller's own memory, which doesn't start at a page boundary.
                using (RmaBuffer user = _pool!.Register(GC.AllocateArray<byte>((int)Long(length), pinned: true).AsMemory()))
                    return $"ok, {Pinned} pinned meanwhile";
            case ["return"]:
                foreach (RmaBuffer buffer in _buffers)
                    buffer.Dispose();
                _buffers.Clear();
                return "ok";
            case ["close"]:
                Dispose();
                return "ok";
            default:
                return $"unknown: {string.Join(' ', words)}";
        }
    }

    private static long Long(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
