using System.IO.Pipelines;
using System.Net;
using AllocTools.Benchmarks.Pairs;
using AllocTools.Connections;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Integrity;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>Compares writes, messages and streams with and without check values, between two contexts of this process.</summary>
internal static class IntegrityRows
{
    private const string Provider = "tcp;ofi_rxm";

    public static IEnumerable<Comparison> All(bool isQuick) =>
        from integrity in new[] { RmaIntegrity.Crc32C, RmaIntegrity.XxHash3 }
        from size in isQuick ? [4 << 10] : new[] { 64, 4 << 10, 1 << 20 }
        from row in new (string What, Func<RmaIntegrity, int, Workload> Make)[] { ("write", Writes), ("message", Messages), ("connection, stream", Streams) }
        select new Comparison($"integrity: {row.What} with {integrity}, {ByteSize.Text(size)}", () => row.Make(integrity, size), "the same without", () => row.Make(RmaIntegrity.None, size));

    private static Workload Writes(RmaIntegrity integrity, int size)
    {
        Pair pair = new();
        // Without check values only the data is written.
        RmaCheckedMemory here = RmaCheckedMemory.Rent(pair.Left.Pool, size, integrity == RmaIntegrity.None ? RmaIntegrity.Crc32C : integrity);
        RmaCheckedMemory there = RmaCheckedMemory.Rent(pair.Right.Pool, size, here.Integrity);
        RmaExposure exposure = there.Expose(RmaAccess.RemoteWrite);
        RemoteRegion region = pair.Left.Endpoint.Import(pair.LeftsPeer, exposure.Remote);
        return new Workload(
            operations => RunAsync(operations).GetAwaiter().GetResult(),
            () =>
            {
                region.Dispose();
                exposure.Dispose();
                here.Dispose();
                there.Dispose();
                pair.Dispose();
            });

        async Task RunAsync(int operations)
        {
            RmaSlice data = here.Buffer.Slice(0, size);
            for (int i = 0; i < operations; i++)
            {
                if (integrity == RmaIntegrity.None)
                {
                    await pair.Left.Endpoint.WriteAsync(data, region);
                    continue;
                }
                await pair.Left.Endpoint.WriteCheckedAsync(here, region, 0, size);
                there.Verify();
            }
        }
    }

    private static Workload Messages(RmaIntegrity integrity, int size)
    {
        Pair pair = new();
        RmaBuffer from = pair.Left.Pool.Rent(size + RmaCheckedExtensions.TrailerLength), to = pair.Right.Pool.Rent(from.Length);
        return new Workload(
            operations => RunAsync(operations).GetAwaiter().GetResult(),
            () =>
            {
                from.Dispose();
                to.Dispose();
                pair.Dispose();
            });

        async Task RunAsync(int operations)
        {
            for (int i = 0; i < operations; i++)
            {
                if (integrity == RmaIntegrity.None)
                {
                    ValueTask<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(to);
                    await pair.Left.Endpoint.SendAsync(from.Slice(0, size), pair.LeftsPeer);
                    await receiving;
                    continue;
                }
                ValueTask<RmaReceiveResult> checking = pair.Right.Endpoint.ReceiveCheckedAsync(to, integrity);
                await pair.Left.Endpoint.SendCheckedAsync(from, pair.LeftsPeer, integrity);
                await checking;
            }
        }
    }

    private static Workload Streams(RmaIntegrity integrity, int size)
    {
        Pair pair = new();
        RmaConnectionOptions options = new() { Integrity = integrity };
        RmaConnections left = new(pair.Left.Pool, options), right = new(pair.Right.Pool, options);
        RmaConnectionListener listener = right.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        Task<RmaConnection> connecting = left.ConnectAsync(listener.EndPoint).AsTask();
        var accepted = (RmaConnection)listener.AcceptAsync().AsTask().GetAwaiter().GetResult()!;
        RmaConnection connection = connecting.GetAwaiter().GetResult();
        byte[] bytes = new byte[size];
        return new Workload(
            operations => Task.WhenAll(WriteAsync(operations), ReadAsync((long)operations * size)).GetAwaiter().GetResult(),
            () =>
            {
                Task.WhenAll(connection.DisposeAsync().AsTask(), accepted.DisposeAsync().AsTask()).GetAwaiter().GetResult();
                listener.DisposeAsync().AsTask().GetAwaiter().GetResult();
                left.Dispose();
                right.Dispose();
                pair.Dispose();
            });

        async Task WriteAsync(int operations)
        {
            for (int i = 0; i < operations; i++)
                await connection.Output.WriteAsync(bytes);
        }

        async Task ReadAsync(long length)
        {
            while (length > 0)
            {
                ReadResult result = await accepted.Input.ReadAsync();
                length -= result.Buffer.Length;
                accepted.Input.AdvanceTo(result.Buffer.End);
            }
        }
    }

    private sealed class Pair : IDisposable
    {
        public Pair()
        {
            LeftsPeer = Left.Endpoint.InsertPeer(Right.Endpoint.Address.Span);
            Right.Endpoint.InsertPeer(Left.Endpoint.Address.Span);
        }

        public Side Left { get; } = new();

        public Side Right { get; } = new();

        public RmaPeer LeftsPeer { get; }

        public void Dispose()
        {
            foreach (Side side in new[] { Left, Right })
            {
                side.Endpoint.Dispose();
                side.Pool.Dispose();
                side.Context.Dispose();
            }
        }
    }

    private sealed class Side
    {
        public Side()
        {
            Context = new LibfabricProvider(new LibfabricOptions { Provider = Provider, Node = "127.0.0.1" }).Open();
            Pool = new RmaMemoryPool<HostProvider>(Context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite });
            Endpoint = Context.OpenEndpoint();
        }

        public IRmaContext Context { get; }

        public RmaMemoryPool<HostProvider> Pool { get; }

        public IRmaEndpoint Endpoint { get; }
    }
}
