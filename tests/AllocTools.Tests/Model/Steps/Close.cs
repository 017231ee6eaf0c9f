namespace AllocTools.Tests.Model.Steps;

/// <summary>Disposes the pool, whether or not buffers are rented.</summary>
internal sealed record Close() : Step
{
    public override void Run(PoolModel model) => model.Close();
}
