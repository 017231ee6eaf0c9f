namespace AllocTools.Tests.Model.Steps;

/// <summary>Ends all operations on a buffer.</summary>
internal sealed record ReleaseAll(int Buffer) : Step
{
    public override void Run(PoolModel model)
    {
        Lease? lease = Pick([.. model.Taken.Where(l => l.Holds.Count > 0)], Buffer);
        while (lease?.Holds.Count > 0)
            model.Release(lease, lease.Holds[^1]);
    }
}
