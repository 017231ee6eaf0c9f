using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Xunit;

namespace AllocTools.Testing;

/// <summary>
/// Processes in a ring that add up arrays of floats by RMA. The test peer defines the order of the additions, which
/// decides each bit of the sum.
/// </summary>
internal static class AllReduce
{
    // Not a multiple of the number of ranks, so the chunks differ in length.
    private const int Length = 100_003;

    /// <summary>Asserts that each process ends up with the sum of all arrays, bit for bit.</summary>
    /// <param name="kind">The kind of test peer: <c>ring</c> or <c>ucx-ring</c>.</param>
    /// <param name="fabric">The fabric that the processes open.</param>
    /// <param name="ranks">The number of processes.</param>
    public static async Task AssertSumsAsync(string kind, string fabric, int ranks)
    {
        List<PeerProcess> ring = [];
        try
        {
            for (int rank = 0; rank < ranks; rank++)
                ring.Add(new PeerProcess(kind, fabric, $"{rank}", $"{ranks}", $"{Length}"));
            string[] places = await Task.WhenAll(ring.Select(p => p.AskAsync("address")));
            for (int rank = 0; rank < ranks; rank++)
            {
                Assert.Equal("ok", await ring[rank].AskAsync($"next {places[(rank + 1) % ranks]}"));
                Assert.Equal("ok", await ring[rank].AskAsync($"previous {places[(rank + ranks - 1) % ranks].Split(' ')[0]}"));
            }
            for (int seed = 1; seed <= 3; seed++)
            {
                string expected = Convert.ToHexString(SHA256.HashData(MemoryMarshal.AsBytes<float>(SerialSum(ranks, seed, offset: 0))));
                // Another order gives other bits, so the test does check the order.
                Assert.True(ranks == 2 || expected != Convert.ToHexString(SHA256.HashData(MemoryMarshal.AsBytes<float>(SerialSum(ranks, seed, offset: 1)))));
                string[] sums = await Task.WhenAll(ring.Select(p => p.AskAsync($"reduce {seed}")));
                Assert.All(sums, sum => Assert.Equal(expected, sum));
            }
        }
        finally
        {
            foreach (PeerProcess peer in ring)
                await peer.DisposeAsync();
        }
    }

    /// <summary>Adds up chunk c starting at rank c (plus an offset), one rank after the other.</summary>
    private static float[] SerialSum(int ranks, int seed, int offset)
    {
        float[][] parts = [.. Enumerable.Range(0, ranks).Select(rank =>
        {
            float[] part = new float[Length];
            RingInput.Fill(part, seed, rank);
            return part;
        })];
        int chunk = (Length + ranks - 1) / ranks;
        float[] sum = new float[Length];
        for (int i = 0; i < Length; i++)
        {
            int first = (i / chunk) + offset;
            sum[i] = parts[first % ranks][i];
            for (int k = 1; k < ranks; k++)
                sum[i] += parts[(first + k) % ranks][i];
        }
        return sum;
    }
}
