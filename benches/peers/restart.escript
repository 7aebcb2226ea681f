#!/usr/bin/env escript
%% What a crash costs in Erlang/OTP: the measurements of benches/restart/measure.rs, with a gen_server under a
%% supervisor. The bench of that name runs this; by hand:
%%
%%     escript benches/peers/restart.escript version | restart | losses | storm
%%
%% Prints one line of JSON. Times are in nanoseconds.
-mode(compile).
-export([start_worker/1, init/1, handle_call/3, handle_cast/2]).

-define(CRASHES, 200).
-define(QUEUED, 1000).
-define(PANICS, 51).
-define(NO_ANSWER, 2000).
-define(NOT_RESTARTED, 500).
-define(STORM, 1000).

main(["version"]) ->
    io:format("\"~s\"~n", [erlang:system_info(otp_release)]);
main([What]) ->
    %% Crashes are what is measured: nobody wants to read their reports.
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    measure(What).

measure("restart") ->
    up(#{intensity => 1000000, period => 1}),
    ok = ask(worker, work),
    io:format("~s~n", [quantiles([crash() || _ <- lists:seq(1, ?CRASHES)])]);
measure("losses") ->
    up(#{intensity => 1000000, period => 1}),
    Outcomes = losses(),
    Count = fun(What) -> length([Outcome || Outcome <- Outcomes, Outcome =:= What]) end,
    io:format("{\"answered\":~b,\"gone\":~b,\"lost\":~b}~n", [Count(ok), Count(failed), Count(lost)]);
measure("storm") ->
    {Control, _, _, _} = storm(work),
    {Taken, Failed, Restarts, Serves} = storm(crash),
    io:format("{\"control\":~s,\"neighbour\":~s,\"failed\":~b,\"restarts\":~b,\"serves\":~p}~n",
              [quantiles(Control), quantiles(Taken), Failed, Restarts, Serves]).

%% ---- a worker and its neighbour under one supervisor

%% Without flags as by default: one restart in five seconds.
up(Flags) ->
    persistent_term:put(starts, counters:new(1, [])),
    Children = [#{id => Name, start => {?MODULE, start_worker, [Name]}} || Name <- [worker, neighbour]],
    {ok, Supervisor} = supervisor:start_link(?MODULE, {supervisor, Flags, Children}),
    Supervisor.

down(Supervisor) ->
    exit(Supervisor, shutdown),
    receive {'EXIT', Supervisor, _} -> ok end.

start_worker(Name) ->
    gen_server:start_link({local, Name}, ?MODULE, Name, []).

init({supervisor, Flags, Children}) ->
    {ok, {Flags, Children}};
init(worker) ->
    counters:add(persistent_term:get(starts), 1, 1),
    {ok, worker};
init(neighbour) ->
    {ok, neighbour}.

handle_call(work, _, State) ->
    {reply, ok, State};
handle_call(crash, _, _) ->
    error(as_asked).

%% Requests queue until it is told to go on.
handle_cast({hold, Holder}, State) ->
    Holder ! held,
    receive go -> ok end,
    {noreply, State}.

ask(Name, What) ->
    try gen_server:call(Name, What, ?NO_ANSWER)
    catch
        exit:{timeout, _} -> lost;
        exit:_ -> failed
    end.

%% ---- restart

crash() ->
    Start = erlang:monotonic_time(nanosecond),
    failed = ask(worker, crash),
    ask_until_served(),
    erlang:monotonic_time(nanosecond) - Start.

ask_until_served() ->
    case ask(worker, work) of
        ok -> ok;
        _ -> erlang:yield(), ask_until_served()
    end.

%% ---- losses

losses() ->
    Main = self(),
    Worker = whereis(worker),
    gen_server:cast(Worker, {hold, Main}),
    receive held -> ok end,
    Ask = fun(?PANICS) -> crash; (_) -> work end,
    [spawn(fun() -> Main ! {outcome, ask(worker, Ask(N))} end) || N <- lists:seq(1, ?QUEUED)],
    until_queued(Worker),
    Worker ! go,
    [receive {outcome, Outcome} -> Outcome end || _ <- lists:seq(1, ?QUEUED)].

until_queued(Worker) ->
    case process_info(Worker, message_queue_len) of
        {message_queue_len, ?QUEUED} -> ok;
        _ -> timer:sleep(1), until_queued(Worker)
    end.

%% ---- crash loop

storm(What) ->
    Supervisor = up(#{}),
    ok = ask(worker, work),
    Starts = persistent_term:get(starts),
    Before = counters:get(Starts, 1),
    Begin = erlang:monotonic_time(millisecond),
    {Culprit, Monitor} = spawn_monitor(fun() -> crash_until(What, Begin, Begin + ?STORM) end),
    {Taken, Failed} = ask_until(Begin + ?STORM, [], 0),
    receive {'DOWN', Monitor, process, Culprit, _} -> ok end,
    Restarts = counters:get(Starts, 1) - Before,
    Serves = serves(?NOT_RESTARTED),
    down(Supervisor),
    {Taken, Failed, Restarts, Serves}.

serves(0) ->
    false;
serves(Left) ->
    case ask(worker, work) of
        ok -> true;
        _ -> timer:sleep(1), serves(Left - 1)
    end.

crash_until(_, Next, Until) when Next >= Until ->
    ok;
crash_until(What, Next, Until) ->
    timer:sleep(max(0, Next - erlang:monotonic_time(millisecond))),
    ask(worker, What),
    crash_until(What, Next + 1, Until).

ask_until(Until, Taken, Failed) ->
    Start = erlang:monotonic_time(nanosecond),
    case Start div 1000000 >= Until of
        true ->
            {Taken, Failed};
        false ->
            case ask(neighbour, work) of
                ok -> ask_until(Until, [erlang:monotonic_time(nanosecond) - Start | Taken], Failed);
                _ -> timer:sleep(1), ask_until(Until, Taken, Failed + 1)
            end
    end.

%% ---- quantiles, as JSON

quantiles([]) ->
    "null";
quantiles(Taken) ->
    Sorted = list_to_tuple(lists:sort(Taken)),
    At = fun(Part) -> element(trunc((tuple_size(Sorted) - 1) * Part) + 1, Sorted) end,
    io_lib:format("{\"median\":~b,\"p99\":~b}", [At(0.5), At(0.99)]).
