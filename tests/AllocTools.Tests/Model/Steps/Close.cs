namespace AllocTools.Tests.Model.Steps;

/// <summary>Disposes the pool, whatever is out.</summary>
internal sealed record Close() : Step
{
    public override void Run(PoolModel model) => model.Close();
}
