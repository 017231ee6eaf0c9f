namespace AllocTools.Tests.Model.Steps;

/// <summary>An operation that holds a buffer times out.</summary>
internal sealed record Quarantine(int Buffer, int Hold) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick([.. model.Taken], Buffer) is { } lease)
            Pick(lease.Holds, Hold)?.Quarantine();
    }
}
