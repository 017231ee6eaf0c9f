namespace AllocTools.Testing;

/// <summary>What the processes of a ring add up.</summary>
internal static class RingInput
{
    /// <summary>Numbers of very different sizes, of which each order of adding gives another sum.</summary>
    public static void Fill(Span<float> values, int seed, int rank)
    {
        Random random = new((1000 * seed) + rank);
        foreach (ref float value in values)
            value = (random.NextSingle() - 0.5f) * MathF.Pow(10, random.Next(-6, 7));
    }
}
