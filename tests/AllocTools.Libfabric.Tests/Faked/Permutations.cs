namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Orders in which things can be done.</summary>
internal static class Permutations
{
    /// <summary>Returns all orders of the numbers from 0 to below <paramref name="count"/>.</summary>
    public static IEnumerable<int[]> Of(int count)
    {
        int[] order = [.. Enumerable.Range(0, count)];
        return From(0);

        IEnumerable<int[]> From(int first)
        {
            if (first == count)
                yield return [.. order];
            for (int i = first; i < count; i++)
            {
                (order[first], order[i]) = (order[i], order[first]);
                foreach (int[] found in From(first + 1))
                    yield return found;
                (order[first], order[i]) = (order[i], order[first]);
            }
        }
    }
}
