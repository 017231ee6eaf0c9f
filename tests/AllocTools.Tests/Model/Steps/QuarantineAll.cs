namespace AllocTools.Tests.Model.Steps;

/// <summary>Has all operations that hold a buffer time out.</summary>
internal sealed record QuarantineAll(int Buffer) : Step
{
    public override void Run(PoolModel model)
    {
        Pick([.. model.Taken], Buffer)?.Holds.ForEach(h => h.Quarantine());
    }
}
