using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using AllocTools.Collections;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.TestPeer;

/// <summary>
/// One of several processes in a ring that add up their arrays, so that each has the sum. They write into the memory of the next
/// process and notify it. It follows the lines on its standard input, and answers each with a line.
/// </summary>
/// <remarks>
/// The array is cut into as many chunks as there are ranks. Chunk c starts at rank c and goes round once; each rank adds its own
/// part to what it receives: ((part of c + part of c + 1) + part of c + 2) and so on. Then the sums go round once more. Each step
/// has its own memory in the window, so nobody has to wait until the next process has read the previous content.
/// </remarks>
/// <param name="open">Opens the fabric, with changes to the options of its endpoint.</param>
/// <param name="rank">The number of this process, from 0.</param>
/// <param name="ranks">The number of processes.</param>
/// <param name="length">The number of elements in the array.</param>
internal sealed class RingPeer(Func<Action<RmaEndpointOptions>, IRmaContext> open, int rank, int ranks, int length)
{
    private readonly HashSet<ulong> _seen = [];

    public async Task<int> RunAsync()
    {
        using IRmaContext context = open(o => o.OperationTimeout = TestTime.Seconds(30));
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        using RmaArray<float> own = pool.RentArray<float>(length);
        using RmaArray<float> window = pool.RentArray<float>(WindowLength);
        using RmaExposure exposure = window.Expose(RmaAccess.RemoteWrite);
        RemoteRegion? remote = null;
        ulong round = 0;
        while (await Console.In.ReadLineAsync() is { } line)
        {
            string answer;
            switch (line.Split(' '))
            {
                case ["address"]:
                    answer = Convert.ToBase64String(endpoint.Address.Span) + ' ' + Convert.ToBase64String(exposure.Remote.ToArray());
                    break;
                case ["next", var address, var memory]:
                    remote = endpoint.Import(endpoint.InsertPeer(Convert.FromBase64String(address)), RemoteMemory.Read(Convert.FromBase64String(memory)));
                    answer = "ok";
                    break;
                case ["previous", var address]:
                    endpoint.InsertPeer(Convert.FromBase64String(address));
                    answer = "ok";
                    break;
                case ["reduce", var seed]:
                    RingInput.Fill(own.Span, int.Parse(seed, CultureInfo.InvariantCulture), rank);
                    try
                    {
                        await ReduceAsync(endpoint, own, window, remote!, round++);
                        answer = Convert.ToHexString(SHA256.HashData(MemoryMarshal.AsBytes(window.GetSpan(WindowLength - length, length))));
                    }
                    catch (RmaException e)
                    {
                        answer = $"error {e.Message.ReplaceLineEndings(" ")}";
                    }
                    break;
                default:
                    answer = $"unknown: {line}";
                    break;
            }
            await Console.Out.WriteLineAsync(answer);
            await Console.Out.FlushAsync();
        }
        remote?.Dispose();
        return 0;
    }

    // One chunk for each step of the first round, then the whole sum.
    private int WindowLength => ((ranks - 1) * ChunkLength) + length;

    private int ChunkLength => (length + ranks - 1) / ranks;

    private async Task ReduceAsync(IRmaEndpoint endpoint, RmaArray<float> own, RmaArray<float> window, RemoteRegion remote, ulong round)
    {
        await using IAsyncEnumerator<RmaNotification> notifications = endpoint.ReadNotificationsAsync().GetAsyncEnumerator();
        ulong first = 2 * round * (ulong)ranks;
        for (int step = 0; step < ranks - 1; step++)
        {
            (int start, int count) = Chunk(rank - step);
            RmaSlice part = step == 0 ? own.Slice(start, count) : window.Slice((step - 1) * ChunkLength, count);
            await endpoint.WriteAsync(part, At(step * ChunkLength, count), first + (ulong)step);
            await WaitAsync(notifications, first + (ulong)step);
            (start, count) = Chunk(rank - step - 1);
            Span<float> sum = window.GetSpan(step * ChunkLength, count);
            TensorPrimitives.Add(sum, own.GetSpan(start, count), sum);
            if (step == ranks - 2)
                sum.CopyTo(window.GetSpan(WindowLength - length + start, count));
        }
        first += (ulong)ranks;
        for (int step = 0; step < ranks - 1; step++)
        {
            (int start, int count) = Chunk(rank + 1 - step);
            int place = WindowLength - length + start;
            await endpoint.WriteAsync(window.Slice(place, count), At(place, count), first + (ulong)step);
            await WaitAsync(notifications, first + (ulong)step);
        }

        RemoteSlice At(long start, long count) => remote.Slice(start * sizeof(float), count * sizeof(float));
    }

    private (int Start, int Count) Chunk(int number)
    {
        int chunk = ((number % ranks) + ranks) % ranks;
        int start = Math.Min(chunk * ChunkLength, length);
        return (start, Math.Min(ChunkLength, length - start));
    }

    /// <summary>Waits for a notification. The writes of a peer may arrive in a different order than they were posted.</summary>
    private async Task WaitAsync(IAsyncEnumerator<RmaNotification> notifications, ulong number)
    {
        while (!_seen.Remove(number))
        {
            if (!await notifications.MoveNextAsync().AsTask().WaitAsync(TestTime.Seconds(30)))
                throw new InvalidOperationException("The endpoint was closed.");
            _seen.Add(notifications.Current.Value);
        }
    }
}
