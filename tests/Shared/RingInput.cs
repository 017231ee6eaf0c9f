namespace AllocTools.Testing;

/// <summary>The numbers that the processes of a ring add up.</summary>
internal static class RingInput
{
    /// <summary>
    /// Fills an array with numbers of very different magnitudes, so that each order of addition gives another sum.
    /// </summary>
    public static void Fill(Span<float> values, int seed, int rank)
    {
        Random random = new((1000 * seed) + rank);
        foreach (ref float value in values)
            value = (random.NextSingle() - 0.5f) * MathF.Pow(10, random.Next(-6, 7));
    }
}
