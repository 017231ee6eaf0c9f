namespace AllocTools.Pooling;

/// <summary>The magazines of the current thread, by the number of their size class.</summary>
/// <remarks>
/// Numbers are used again after their pool was closed. A thread may find the closed pool's magazine there: whoever looks
/// compares the magazine's class.
/// </remarks>
internal static class MagazineTable
{
    private static readonly Lock Gate = new();
    private static readonly Stack<int> FreeIds = new();
    private static int s_nextId;

    [ThreadStatic]
    private static Magazine?[]? t_magazines;

    /// <summary>Null where the thread has none.</summary>
    public static Magazine?[]? OfThread => t_magazines;

    public static void Set(int id, Magazine magazine)
    {
        Magazine?[] magazines = t_magazines ?? [];
        if (id >= magazines.Length)
        {
            Array.Resize(ref magazines, Math.Max(id + 1, magazines.Length * 2));
            t_magazines = magazines;
        }
        magazines[id] = magazine;
    }

    public static int TakeId()
    {
        lock (Gate)
            return FreeIds.TryPop(out int id) ? id : s_nextId++;
    }

    public static void ReleaseId(int id)
    {
        lock (Gate)
            FreeIds.Push(id);
    }
}
